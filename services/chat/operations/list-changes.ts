import type { ChangeList } from '../../../shared/contracts/chat.ts';
import type { ChatContext } from '../context.ts';
import { changedSince } from '../store/changes.ts';
import { withReactions } from '../store/messages.ts';
import type { RoomRow } from '../store/rooms.ts';
import { readableRoom } from './room-access.ts';

/**
 * Messages changed after a number, as they are now: whoever applies them has the state of one who saw every change.
 * A message that changed several times comes once, where its last change is, so there is no log that grows.
 */
export async function listChanges(
  context: ChatContext,
  input: { roomId: string; after: number; limit: number },
): Promise<ChangeList> {
  return changesIn(context, await readableRoom(context, input.roomId), input);
}

/**
 * The same in a room that the caller may read, of messages up to `upTo`. `room` was read before, or on the same
 * snapshot: it says how far the changes reach.
 */
export async function changesIn(
  context: ChatContext,
  room: RoomRow,
  { after, limit, upTo = Number.POSITIVE_INFINITY }: { after: number; limit: number; upTo?: number },
): Promise<ChangeList> {
  const rows = await changedSince(context.db, room.id, after, limit + 1);
  const hasMore = rows.length > limit;
  const shown = rows.slice(0, limit);
  const reached = shown.at(-1)?.change_seq ?? after;
  return {
    items: await withReactions(
      context.db,
      shown.filter(({ seq }) => seq <= upTo),
      context.caller.userId,
    ),
    lastChange: hasMore ? reached : Math.max(reached, room.last_change),
    hasMore,
  };
}
