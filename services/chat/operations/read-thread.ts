import type { Message } from '../../../shared/contracts/chat.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { notFound } from '../../../shared/errors.ts';
import { decodeCursor, encodeCursor } from '../../../shared/http/cursor.ts';
import type { ChatContext } from '../context.ts';
import { findMessage, withReactions } from '../store/messages.ts';
import { listReplies } from '../store/replies.ts';
import { checkedNumber } from './keyset.ts';
import { readableRoom } from './room-access.ts';

/** The replies to a message, in the order of `seq`. Throws `not-found`. */
export async function readThread(
  context: ChatContext,
  input: { roomId: string; messageId: string; limit: number; cursor?: string | undefined },
): Promise<Page<Message>> {
  const after = checkedNumber(decodeCursor<[number]>(input.cursor, ['number']));
  const room = await readableRoom(context, input.roomId);
  const parent = await findMessage(context.db, input.messageId);
  if (parent?.room_id !== room.id) throw notFound('message');
  const rows = await listReplies(context.db, parent.id, input.limit, after);
  const shown = rows.slice(0, input.limit);
  return {
    items: await withReactions(context.db, shown, context.caller.userId),
    nextCursor: rows.length > input.limit ? encodeCursor([shown.at(-1)!.seq]) : null,
  };
}
