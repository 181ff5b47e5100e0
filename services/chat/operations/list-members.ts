import type { Member } from '../../../shared/contracts/chat.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import type { ChatContext } from '../context.ts';
import { listMembers as findMemberRows, type MemberRow } from '../store/members.ts';
import { checkedKey } from './keyset.ts';
import { readableRoom } from './room-access.ts';

/** Who is in the room, in the order of joining, under their newest names. */
export async function listMembers(
  context: ChatContext,
  input: { roomId: string; limit: number; cursor?: string | undefined },
): Promise<Page<Member>> {
  const after = checkedKey(decodeCursor<[string, string]>(input.cursor, ['string', 'string']));
  const room = await readableRoom(context, input.roomId);
  const rows = await findMemberRows(context.db, input.roomId, input.limit, after);
  return toPage(
    rows,
    input.limit,
    (row) => [row.joined_at.toISOString(), row.user_id],
    (row) => toMember(row, room.receipts),
  );
}

export const toMember = (row: MemberRow, receipts: boolean): Member => ({
  userId: row.user_id,
  displayName: row.display_name ?? '',
  role: row.role,
  joinedAt: row.joined_at.toISOString(),
  readSeq: receipts ? row.read_seq : null,
});
