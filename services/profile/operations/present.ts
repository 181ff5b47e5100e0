import type { Role } from '../../../shared/contracts/common.ts';
import {
  type OwnProfile,
  OwnProfile as OwnProfileSchema,
  type PublicProfile,
} from '../../../shared/contracts/profile.ts';
import type { ProfileTools } from '../context.ts';
import type { Profile } from '../store/profiles.ts';

type Addresses = Pick<ProfileTools, 'settings'>;

/** Path of one size of an avatar on the gateway. */
export const avatarPath = (avatarId: string, size: string): string =>
  `/api/profiles/avatars/${avatarId}/${size}`;

export function avatarOf({ settings }: Addresses, avatarId: string): NonNullable<OwnProfile['avatar']> {
  const url = (size: string) => settings.publicUrl + avatarPath(avatarId, size);
  return { small: url('small'), medium: url('medium'), large: url('large') };
}

/** The owner's view. In the schema's order of fields, so that its ETag is that of the reply. */
export const toOwnProfile = (tools: Addresses, profile: Profile, role: Role): OwnProfile =>
  OwnProfileSchema.parse({
    ...profile,
    role,
    avatar: profile.avatarId ? avatarOf(tools, profile.avatarId) : null,
    createdAt: profile.createdAt.toISOString(),
    updatedAt: profile.updatedAt.toISOString(),
  });

export interface Viewer {
  userId: string;
  role: Role;
}

const seesAll = (profile: Profile, viewer: Viewer): boolean =>
  viewer.role === 'admin' || viewer.userId === profile.userId;

/** Whether the owner's privacy lets this caller open the profile at all. */
export function mayOpen(profile: Profile, viewer: Viewer): boolean {
  if (seesAll(profile, viewer)) return true;
  if (profile.privacy.profile === 'teachers') return viewer.role === 'teacher';
  return profile.privacy.profile === 'everyone';
}

/** The profile as the viewer may see it; call it only if `mayOpen`. */
export function toPublicProfile(tools: Addresses, profile: Profile, viewer: Viewer): PublicProfile {
  const all = seesAll(profile, viewer);
  const { privacy } = profile;
  return {
    userId: profile.userId,
    displayName: profile.displayName,
    role: profile.role ?? (profile.userId === viewer.userId ? viewer.role : 'learner'),
    avatar: profile.avatarId ? avatarOf(tools, profile.avatarId) : null,
    bio: all || privacy.showBio ? profile.bio : null,
    links: all || privacy.showLinks ? profile.links : [],
    timeZone: all || privacy.showTimeZone ? profile.timeZone : null,
  };
}
