import { randomUUID } from 'node:crypto';
import { AVATAR_SIZES, type OwnProfile } from '../../../shared/contracts/profile.ts';
import { Problem } from '../../../shared/errors.ts';
import { pictureType } from '../../../shared/media/picture-type.ts';
import type { ProfileContext, ProfileTools } from '../context.ts';
import { addPendingAvatar, useAvatar } from '../store/avatars.ts';
import * as profiles from '../store/profiles.ts';
import { announceProfile } from './announce-profile.ts';
import { ownProfile } from './own-profile.ts';
import { avatarOf } from './present.ts';
import { forgetAtGateways, removeOldAvatars } from './remove-avatars.ts';
import { avatarKey } from './serve-avatar.ts';

/**
 * Makes a picture the caller's avatar: three square sizes without the picture's metadata. The one before goes
 * after the commit. Throws `unsupported-media-type` for what is no picture and `validation-failed` for a broken one.
 */
export async function setMyAvatar(
  context: ProfileContext,
  tools: ProfileTools,
  picture: Uint8Array,
): Promise<NonNullable<OwnProfile['avatar']>> {
  if (!pictureType(picture)) {
    if (picture.byteLength === 0) throw new Problem('validation-failed', 'The body is empty.');
    throw new Problem('unsupported-media-type', 'Send a JPEG, PNG, WebP, GIF or AVIF picture.');
  }
  const images = await tools.drawAvatar(picture);

  // Its address needs no token, so it must not be guessable: 122 random bits, where a UUIDv7 has far fewer.
  const avatarId = randomUUID();
  // A row first: should this process die, the sweep knows what it left in the store.
  await addPendingAvatar(context.db, avatarId, context.caller.userId);
  await Promise.all(
    AVATAR_SIZES.map((size) =>
      tools.objects.put(avatarKey(avatarId, size), streamOf(images[size]), { contentType: 'image/webp' }),
    ),
  );
  const old = await context.transaction(async (tx) => {
    const profile = await ownProfile(tx, { lock: true });
    if (!(await useAvatar(tx.db, avatarId)))
      throw new Problem('conflict', 'The upload took too long. Try again.');
    await profiles.setAvatar(tx.db, profile.userId, avatarId);
    await announceProfile(tx, { ...profile, avatarId });
    await removeOldAvatars(tx, tools, profile.userId, avatarId);
    return profile.avatarId;
  });
  if (old) await forgetAtGateways(tools, old);
  return avatarOf(tools, avatarId);
}

const streamOf = (bytes: Uint8Array): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
