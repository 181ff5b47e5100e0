import type { OwnProfile, ProfileChange } from '../../../shared/contracts/profile.ts';
import type { ProfileContext, ProfileTools } from '../context.ts';
import { changeProfile } from '../store/profiles.ts';
import { announceProfile } from './announce-profile.ts';
import { ownProfile } from './own-profile.ts';
import { toOwnProfile } from './present.ts';

/**
 * Changes the caller's own profile and tells the other services. `expectCurrent` sees the profile as it stands
 * and throws if the caller has read another one (If-Match).
 */
export async function changeMyProfile(
  context: ProfileContext,
  tools: ProfileTools,
  change: ProfileChange,
  expectCurrent: (current: OwnProfile) => void = () => {},
): Promise<OwnProfile> {
  return context.transaction(async (tx) => {
    const before = await ownProfile(tx, { lock: true });
    expectCurrent(toOwnProfile(tools, before, tx.caller.role));
    if (Object.keys(change).length === 0) return toOwnProfile(tools, before, tx.caller.role);
    await changeProfile(tx.db, before, change);
    const after = await ownProfile(tx);
    await announceProfile(tx, after);
    return toOwnProfile(tools, after, tx.caller.role);
  });
}
