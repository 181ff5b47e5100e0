import type { RoomRole } from '../../../shared/contracts/chat.ts';
import { Problem } from '../../../shared/errors.ts';
import type { ChatContext } from '../context.ts';
import { findMembers } from '../store/members.ts';
import type { RoomRow } from '../store/rooms.ts';

const RANK: Record<RoomRole, number> = { member: 1, moderator: 2, owner: 3 };

/** Nobody acts on himself, nor on who has the same rank in the room or a higher one. Throws `forbidden`. */
export async function refuseOutranked(tx: ChatContext, room: RoomRow, targetId: string): Promise<void> {
  const { caller } = tx;
  if (targetId === caller.userId) throw new Problem('forbidden', 'You can not do this to yourself.');
  if (caller.role === 'admin' && room.kind !== 'direct') return;
  const [target] = await findMembers(tx.db, room.id, [targetId]);
  const rank = room.my_role === null ? 0 : RANK[room.my_role];
  if (target && RANK[target.role] >= rank)
    throw new Problem('forbidden', 'They have the same rank in the room as you, or a higher one.');
}
