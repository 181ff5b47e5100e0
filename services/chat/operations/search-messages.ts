import type { Message } from '../../../shared/contracts/chat.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { decodeCursor, encodeCursor } from '../../../shared/http/cursor.ts';
import type { ChatContext } from '../context.ts';
import { withReactions } from '../store/messages.ts';
import { searchMessages as findMessages } from '../store/search.ts';
import { checkedKey } from './keyset.ts';
import { readableRoom } from './room-access.ts';

/** Messages with these words, newest first, in the caller's rooms or in one that the caller may read. */
export async function searchMessages(
  context: ChatContext,
  input: {
    q: string;
    roomId?: string | undefined;
    authorId?: string | undefined;
    from?: string | undefined;
    to?: string | undefined;
    limit: number;
    cursor?: string | undefined;
  },
): Promise<Page<Message>> {
  const after = checkedKey(decodeCursor<[string, string]>(input.cursor, ['string', 'string']));
  const { q, roomId, limit, cursor: _, ...filter } = input;
  const room = roomId === undefined ? undefined : await readableRoom(context, roomId);
  const viewerId = context.caller.userId;
  const rows = await findMessages(context.db, {
    ...filter,
    words: q,
    roomId: room?.id,
    viewerId,
    limit,
    after,
  });
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    items: await withReactions(context.db, shown, viewerId),
    nextCursor: rows.length > limit && last ? encodeCursor([last.created_at.toISOString(), last.id]) : null,
  };
}
