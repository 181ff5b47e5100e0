import { AVATAR_SIZES } from '../../../shared/contracts/profile.ts';
import { purgeGatewayCaches } from '../../../shared/ports/gateway-purge.ts';
import type { ProfileContext, ProfileTools } from '../context.ts';
import * as avatars from '../store/avatars.ts';
import { avatarKey } from './serve-avatar.ts';

/**
 * Marks the user's avatars but `except` as to be removed; their objects go once the transaction `tx` has
 * committed. The sweep removes those that are still there then (store away, process killed).
 */
export async function removeOldAvatars(
  tx: ProfileContext,
  tools: Pick<ProfileTools, 'objects'>,
  userId: string,
  except: string | null,
): Promise<void> {
  const old = await avatars.doomAvatars(tx.db, userId, except);
  tx.afterCommit(() => {
    for (const id of old) deleteObjects(tools, id).catch(() => {});
  });
}

/** The job: removes replaced avatars, and those whose upload was never finished. Safe in several processes at once. */
export async function sweepAvatars(
  context: ProfileContext,
  tools: Pick<ProfileTools, 'objects' | 'ephemeral'>,
): Promise<number> {
  const ids = await avatars.claimAvatarsToRemove(context.db, 50);
  for (const id of ids) {
    await deleteObjects(tools, id);
    await forgetAtGateways(tools, id);
    await avatars.forgetAvatar(context.db, id);
  }
  return ids.length;
}

/** Gateways keep pictures, which say that they never change. Once the removal is committed. */
export const forgetAtGateways = ({ ephemeral }: Pick<ProfileTools, 'ephemeral'>, id: string): Promise<void> =>
  purgeGatewayCaches(ephemeral, `/api/profiles/avatars/${id}/`);

async function deleteObjects({ objects }: Pick<ProfileTools, 'objects'>, id: string): Promise<void> {
  await Promise.all(AVATAR_SIZES.map((size) => objects.delete(avatarKey(id, size))));
}
