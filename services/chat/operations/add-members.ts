import type { Member } from '../../../shared/contracts/chat.ts';
import { Problem } from '../../../shared/errors.ts';
import type { ChatContext } from '../context.ts';
import { findMembers, addMembers as insertMembers } from '../store/members.ts';
import { bannedAmong } from '../store/sanctions.ts';
import { noteAudit } from './audit.ts';
import { checkedPeople } from './create-room.ts';
import { toMember } from './list-members.ts';
import { readableRoom } from './room-access.ts';

/**
 * The owner of a group takes others in. Course rooms follow enrolment and direct rooms are two: `forbidden`. Throws
 * `conflict` for who is banned.
 */
export async function addMembers(
  context: ChatContext,
  input: { roomId: string; memberIds: string[] },
): Promise<{ items: Member[] }> {
  const room = await readableRoom(context, input.roomId);
  if (room.kind !== 'group')
    throw new Problem('forbidden', `The members of a ${room.kind} room are not chosen.`);
  if (room.my_role !== 'owner') throw new Problem('forbidden', "Only the room's owner may add members.");
  const userIds = await checkedPeople(context, input.memberIds);
  return context.transaction(async (tx) => {
    await refuseBanned(tx, room.id, userIds);
    await insertMembers(
      tx.db,
      room.id,
      userIds.map((userId) => ({ userId, role: 'member' as const })),
      new Date(),
    );
    await noteAudit(tx, room.id, 'members-added', { details: { userIds } });
    const members = await findMembers(tx.db, room.id, userIds);
    return { items: members.map((member) => toMember(member, room.receipts)) };
  });
}

/** Throws `conflict` if any of them may not come in now. */
export async function refuseBanned(tx: ChatContext, roomId: string, userIds: string[]): Promise<void> {
  const banned = await bannedAmong(tx.db, roomId, userIds);
  if (banned.size > 0) throw new Problem('conflict', 'Lift the ban first.');
}
