import type { Message } from '../../../shared/contracts/chat.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { Problem } from '../../../shared/errors.ts';
import { decodeCursor, encodeCursor } from '../../../shared/http/cursor.ts';
import type { ChatContext } from '../context.ts';
import { withReactions } from '../store/messages.ts';
import { searchMessages as findMessages, isSearchTooLong } from '../store/search.ts';
import { checkedNumber } from './keyset.ts';
import { readableRoom } from './room-access.ts';

/**
 * Messages with these words, newest first, in the caller's rooms or in one that the caller may read. Throws
 * `upstream-timeout` for what would keep the database busy for seconds.
 */
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
  const after = decodeCursor<[number, string]>(input.cursor, ['number', 'id']);
  if (after) checkedNumber([after[0]]);
  const { q, roomId, limit, cursor: _, ...filter } = input;
  const room = roomId === undefined ? undefined : await readableRoom(context, roomId);
  const viewerId = context.caller.userId;
  const rows = await context
    .transaction((tx) =>
      findMessages(tx.db, { ...filter, words: q, roomId: room?.id, viewerId, limit, after }),
    )
    .catch((error: unknown) => {
      if (!isSearchTooLong(error)) throw error;
      throw new Problem('upstream-timeout', 'The search took too long. Name a room, a person or a time.');
    });
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    items: await withReactions(context.db, shown, viewerId),
    nextCursor: rows.length > limit && last ? encodeCursor([last.seq, last.id]) : null,
  };
}
