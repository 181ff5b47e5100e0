import type { PublicProfile } from '../../../shared/contracts/profile.ts';
import { notFound } from '../../../shared/errors.ts';
import type { ProfileContext, ProfileTools } from '../context.ts';
import { findVisibleProfile } from '../store/profiles.ts';
import { ownProfile } from './own-profile.ts';
import { mayOpen, toPublicProfile } from './present.ts';

/** Somebody's profile as their privacy shows it to the caller. Throws `not-found` also for one the caller may not open. */
export async function getProfile(
  context: ProfileContext,
  tools: ProfileTools,
  userId: string,
): Promise<PublicProfile> {
  const { caller } = context;
  const profile =
    userId === caller.userId ? await ownProfile(context) : await findVisibleProfile(context.db, userId);
  if (!profile || !mayOpen(profile, caller)) throw notFound('profile');
  return toPublicProfile(tools, profile, caller);
}
