import { Problem } from '../../../shared/errors.ts';
import type { ProfileContext } from '../context.ts';
import { isDeleted } from '../store/accounts.ts';
import { addProfile, findProfile, lockProfile, type Profile } from '../store/profiles.ts';

/**
 * The caller's profile, made from the token if `user.registered` has not come yet. With `lock` it is held until
 * the open transaction ends. Throws `unauthenticated` for the token of a deleted account.
 */
export async function ownProfile(
  context: ProfileContext,
  options: { lock?: boolean } = {},
): Promise<Profile> {
  const { db, caller } = context;
  const find = options.lock ? lockProfile : findProfile;
  const profile = await find(db, caller.userId);
  if (profile) return profile;
  if (await isDeleted(db, caller.userId)) throw new Problem('unauthenticated', 'This account is gone.');
  await addProfile(db, caller.userId, caller.name);
  return (await find(db, caller.userId))!;
}
