import {
  type NotificationPreferences,
  type NotificationPreferencesChange,
  NotificationPreferences as Schema,
} from '../../../shared/contracts/notifications.ts';
import type { NotificationsContext } from '../context.ts';
import { findPreferences, lockPreferences, savePreferences } from '../store/preferences.ts';

/** Which channels the caller wants for each kind; defaults for what was never chosen. */
export async function getPreferences(context: NotificationsContext): Promise<NotificationPreferences> {
  const { userId } = context.caller;
  return Schema.parse((await findPreferences(context.db, [userId])).get(userId));
}

/** Sets the channels of the kinds in `change`. `expectCurrent` throws if the caller has read others (If-Match). */
export async function setPreferences(
  context: NotificationsContext,
  change: NotificationPreferencesChange,
  expectCurrent: (current: NotificationPreferences) => void = () => {},
): Promise<NotificationPreferences> {
  return context.transaction(async ({ db, caller }) => {
    const before = Schema.parse(await lockPreferences(db, caller.userId));
    expectCurrent(before);
    const after = Schema.parse({ ...before, ...change });
    await savePreferences(db, caller.userId, after);
    return after;
  });
}
