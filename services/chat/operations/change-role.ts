import type { Member, RoomRole } from '../../../shared/contracts/chat.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import type { ChatContext } from '../context.ts';
import { demoteOwner, findMembers, setRole } from '../store/members.ts';
import { noteAudit } from './audit.ts';
import { toMember } from './list-members.ts';
import { ownedRoom } from './room-access.ts';

/**
 * The owner makes members moderators and back, or hands a group over to somebody. The owner of a course's room is
 * its teacher: `forbidden`. Throws `conflict` when a group would be left without an owner.
 */
export async function changeRole(
  context: ChatContext,
  input: { roomId: string; userId: string; role: RoomRole },
): Promise<Member> {
  return context.transaction(async (tx) => {
    const room = await ownedRoom(tx, input.roomId);
    const userId = input.userId.toLowerCase();
    const [member] = await findMembers(tx.db, room.id, [userId]);
    if (!member) throw notFound('member');
    if (member.role === input.role) return toMember(member, room.receipts);
    if (room.kind === 'course' && (member.role === 'owner' || input.role === 'owner'))
      throw new Problem('forbidden', "The owner of a course's room is its teacher.");
    if (member.role === 'owner')
      throw new Problem('conflict', 'Make somebody else the owner: that makes this one a moderator.');

    if (input.role === 'owner') await demoteOwner(tx.db, room.id);
    await setRole(tx.db, room.id, userId, input.role);
    await noteAudit(tx, room.id, 'role-changed', {
      targetId: userId,
      details: { from: member.role, to: input.role },
    });
    return toMember({ ...member, role: input.role }, room.receipts);
  });
}
