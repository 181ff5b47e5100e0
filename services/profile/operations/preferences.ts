import {
  type Preferences,
  type PreferencesChange,
  Preferences as Schema,
} from '../../../shared/contracts/profile.ts';
import type { ProfileContext } from '../context.ts';
import { setPreferences } from '../store/profiles.ts';
import { ownProfile } from './own-profile.ts';

/** How the caller wants the web app to be; defaults for what was never chosen. */
export const getPreferences = async (context: ProfileContext): Promise<Preferences> =>
  Schema.parse((await ownProfile(context)).preferences);

/** Changes some of the caller's preferences. `expectCurrent` throws if the caller has read others (If-Match). */
export async function changePreferences(
  context: ProfileContext,
  change: PreferencesChange,
  expectCurrent: (current: Preferences) => void = () => {},
): Promise<Preferences> {
  return context.transaction(async (tx) => {
    const profile = await ownProfile(tx, { lock: true });
    const before = Schema.parse(profile.preferences);
    expectCurrent(before);
    const after = Schema.parse({ ...before, ...change });
    await setPreferences(tx.db, profile.userId, after);
    return after;
  });
}
