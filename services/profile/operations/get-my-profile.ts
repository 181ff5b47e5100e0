import type { OwnProfile } from '../../../shared/contracts/profile.ts';
import type { ProfileContext, ProfileTools } from '../context.ts';
import { ownProfile } from './own-profile.ts';
import { toOwnProfile } from './present.ts';

/** The caller's own profile, with everything in it. */
export async function getMyProfile(context: ProfileContext, tools: ProfileTools): Promise<OwnProfile> {
  return toOwnProfile(tools, await ownProfile(context), context.caller.role);
}
