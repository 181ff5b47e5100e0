import type { ProfileContext, ProfileTools } from '../context.ts';
import * as profiles from '../store/profiles.ts';
import { announceProfile } from './announce-profile.ts';
import { ownProfile } from './own-profile.ts';
import { forgetAtGateways, removeOldAvatars } from './remove-avatars.ts';

/** Takes the caller's avatar away; fine if there is none. */
export async function deleteMyAvatar(context: ProfileContext, tools: ProfileTools): Promise<void> {
  const old = await context.transaction(async (tx) => {
    const profile = await ownProfile(tx, { lock: true });
    if (!profile.avatarId) return undefined;
    await profiles.setAvatar(tx.db, profile.userId, null);
    await announceProfile(tx, { ...profile, avatarId: null });
    await removeOldAvatars(tx, tools, profile.userId, null);
    return profile.avatarId;
  });
  if (old) await forgetAtGateways(tools, old);
}
