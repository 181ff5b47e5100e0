import type { EventData } from '../../../shared/contracts/events.ts';
import type { ChatContext } from '../context.ts';
import { roomsOf } from '../store/members.ts';
import { hidesPresence, namePerson } from '../store/people.ts';

/**
 * Takes in what a profile says now: the name, and whether others may see that its owner is online. Returns the rooms
 * to tell when that has changed.
 */
export async function keepProfile(
  tx: ChatContext,
  data: EventData<'profile.updated'>,
  at: Date,
): Promise<{ roomIds: string[]; visible: boolean } | undefined> {
  const { userId, displayName, showPresence } = data;
  const hidden = await hidesPresence(tx.db, userId);
  await namePerson(tx.db, userId, displayName, at, showPresence === undefined ? undefined : !showPresence);
  const hides = await hidesPresence(tx.db, userId);
  if (hides === hidden) return undefined;
  return { roomIds: (await roomsOf(tx.db, [userId])).get(userId) ?? [], visible: !hides };
}
