import type { ProfileContext } from '../context.ts';
import type { Profile } from '../store/profiles.ts';
import { avatarPath } from './present.ts';

/**
 * Publishes `profile.updated`: what other services show of a person. Its avatar is a path on the gateway and not
 * a whole address, because others keep it, and the school may move.
 */
export const announceProfile = (tx: ProfileContext, profile: Profile): Promise<void> =>
  tx.publish('profile.updated', profile.userId, {
    userId: profile.userId,
    displayName: profile.displayName,
    avatar: profile.avatarId ? avatarPath(profile.avatarId, 'small') : null,
    locale: profile.locale,
    showPresence: profile.privacy.showPresence,
  });
