import type { AvatarSize } from '../../../shared/contracts/profile.ts';
import { notFound } from '../../../shared/errors.ts';
import type { ProfileContext, ProfileTools } from '../context.ts';
import { isCurrentAvatar } from '../store/avatars.ts';

/** Where one size of an avatar is kept in the object store. */
export const avatarKey = (avatarId: string, size: AvatarSize): string => `avatars/${avatarId}/${size}.webp`;

/** The bytes of one size of an avatar in use (WebP). Throws `not-found` for any other. */
export async function openAvatar(
  context: ProfileContext,
  { objects }: Pick<ProfileTools, 'objects'>,
  { avatarId, size }: { avatarId: string; size: AvatarSize },
): Promise<ReadableStream<Uint8Array>> {
  await requireAvatar(context, avatarId);
  return objects.get(avatarKey(avatarId, size));
}

/** Throws `not-found` unless somebody has this avatar now. */
export async function requireAvatar(context: ProfileContext, avatarId: string): Promise<void> {
  if (!(await isCurrentAvatar(context.db, avatarId))) throw notFound('avatar');
}
