import type { Room } from '../../../shared/contracts/chat.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import type { ChatContext } from '../context.ts';
import { listRooms as findRooms } from '../store/rooms.ts';
import { checkedKey } from './keyset.ts';
import { toRoom } from './to-room.ts';

/** The rooms the caller is a member of, last active first. */
export async function listRooms(
  context: ChatContext,
  input: {
    limit: number;
    cursor?: string | undefined;
    courseId?: string | undefined;
    archived?: boolean | undefined;
  },
): Promise<Page<Room>> {
  const after = decodeCursor<[string, string]>(input.cursor, ['string', 'string']);
  const rows = await findRooms(context.db, context.caller.userId, {
    limit: input.limit,
    courseId: input.courseId,
    archived: input.archived,
    after: checkedKey(after),
  });
  return toPage(rows, input.limit, (row) => [row.active_at.toISOString(), row.id], toRoom);
}
