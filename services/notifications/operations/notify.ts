import type { NotificationKind } from '../../../shared/contracts/notifications.ts';
import { newId } from '../../../shared/ids.ts';
import { oneLine } from '../../../shared/mail/layout.ts';
import type { NotificationsContext, NotificationsTools } from '../context.ts';
import { addNotification } from '../store/notifications.ts';
import { findPeople } from '../store/people.ts';
import { findPreferences } from '../store/preferences.ts';
import { composeMail } from '../templates/compose-mail.ts';
import type { Words } from '../templates/words.ts';
import { mailTo } from './mail-to.ts';

/**
 * Tells each of `userIds` once, on the channels that they want for this kind. Everything (the row, the mail job,
 * `notification.created`) commits with the transaction `tx` is in. Nobody needs to be known yet: preferences
 * have defaults, and a mail waits for its address.
 */
export async function notify(
  tx: NotificationsContext,
  tools: NotificationsTools,
  kind: NotificationKind,
  userIds: readonly string[],
  words: Words,
): Promise<void> {
  // In one order everywhere, so that two events about the same people can't lock each other out.
  const receivers = [...new Set(userIds)].sort();
  const people = await findPeople(tx.db, receivers);
  const preferences = await findPreferences(tx.db, receivers);
  const title = oneLine(words.title);

  for (const userId of receivers) {
    const { inApp, email } = preferences.get(userId)![kind];
    if ((!inApp && !email) || people.get(userId)?.deleted) continue;
    const id = newId();
    const createdAt = new Date();
    const { body, link } = words;
    await addNotification(tx.db, {
      id,
      user_id: userId,
      kind,
      title,
      body,
      link,
      in_app: inApp,
      created_at: createdAt,
    });
    await tx.publish('notification.created', id, {
      userId,
      notificationId: id,
      kind,
      title,
      body,
      link,
      createdAt: createdAt.toISOString(),
      live: inApp,
    });
    if (email)
      await mailTo(tx.db, id, userId, people.get(userId), composeMail(words, tools.settings.publicUrl));
  }
}
