import type { MessageVersion } from '../../../shared/contracts/chat.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import type { ChatContext } from '../context.ts';
import { findMessage } from '../store/messages.ts';
import { listVersions } from '../store/versions.ts';
import { checkedNumber } from './keyset.ts';
import { moderates, readableRoom } from './room-access.ts';

/**
 * What a message said before each edit, and what it says now. For its author and the room's moderators. A deleted
 * message has none left.
 */
export async function readVersions(
  context: ChatContext,
  input: { messageId: string; limit: number; cursor?: string | undefined },
): Promise<Page<MessageVersion>> {
  const after = checkedNumber(decodeCursor<[number]>(input.cursor, ['number']));
  const message = await findMessage(context.db, input.messageId);
  if (!message) throw notFound('message');
  const room = await readableRoom(context, message.room_id).catch((error: unknown) => {
    throw error instanceof Problem && error.code === 'not-found' ? notFound('message') : error;
  });
  if (message.author_id !== context.caller.userId && !moderates(context, room))
    throw new Problem('forbidden', 'Only its author and moderators may see what a message said before.');
  const rows = await listVersions(context.db, message.id, input.limit, after);
  return toPage(
    rows,
    input.limit,
    (row) => [row.version],
    (row) => ({ version: row.version, body: row.body, writtenAt: row.written_at.toISOString() }),
  );
}
