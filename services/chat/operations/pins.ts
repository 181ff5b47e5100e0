import type { Message } from '../../../shared/contracts/chat.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import { decodeCursor, encodeCursor } from '../../../shared/http/cursor.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { recordChange } from '../store/changes.ts';
import { withReactions } from '../store/messages.ts';
import { countPinned, listPinned, setPinned } from '../store/pins.ts';
import type { RoomRow } from '../store/rooms.ts';
import { noteAudit } from './audit.ts';
import { checkedKey } from './keyset.ts';
import { messageInRoom, moderates, readableRoom, refuseArchived } from './room-access.ts';

const MOST_PINNED = 100;

/** Moderators pin; in a direct room both may. */
const mayPin = (context: ChatContext, room: RoomRow): boolean =>
  moderates(context, room) || (room.kind === 'direct' && room.my_role !== null);

/** Pins a message, or takes its pin away; saying it twice changes nothing. Throws `forbidden` and `conflict`. */
export async function changePin(
  context: ChatContext,
  tools: ChatTools,
  input: { roomId: string; messageId: string; pinned: boolean },
): Promise<void> {
  await context.transaction(async (tx) => {
    const { message, room } = await messageInRoom(tx, input.messageId);
    if (room.id !== input.roomId.toLowerCase()) throw notFound('message');
    if (!mayPin(tx, room)) throw new Problem('forbidden', 'Only moderators of the room may do this.');
    refuseArchived(room);
    if ((message.pinned_at !== null) === input.pinned) return;
    if (input.pinned) {
      if (message.deleted_at) throw new Problem('conflict', 'The message is deleted.');
      if ((await countPinned(tx.db, room.id)) >= MOST_PINNED)
        throw new Problem('conflict', `A room has at most ${MOST_PINNED} pinned messages.`);
    }
    const pinnedAt = input.pinned ? new Date() : null;
    await setPinned(tx.db, message.id, pinnedAt && { at: pinnedAt, by: tx.caller.userId });
    const number = await recordChange(tx.db, room.id, message.id);
    if (room.kind !== 'direct') {
      await noteAudit(tx, room.id, input.pinned ? 'message-pinned' : 'message-unpinned', {
        messageId: message.id,
      });
    }
    tx.afterCommit(() =>
      tools.live.pin({
        roomId: room.id,
        messageId: message.id,
        pinnedAt: pinnedAt?.toISOString() ?? null,
        ...number,
      }),
    );
  });
}

/** The room's pinned messages, pinned last first. */
export async function listPins(
  context: ChatContext,
  input: { roomId: string; limit: number; cursor?: string | undefined },
): Promise<Page<Message>> {
  const after = checkedKey(decodeCursor<[string, string]>(input.cursor, ['string', 'string']));
  const room = await readableRoom(context, input.roomId);
  const rows = await listPinned(context.db, room.id, input.limit, after);
  const shown = rows.slice(0, input.limit);
  const last = shown.at(-1);
  return {
    items: await withReactions(context.db, shown, context.caller.userId),
    nextCursor:
      rows.length > input.limit && last ? encodeCursor([last.pinned_at!.toISOString(), last.id]) : null,
  };
}
