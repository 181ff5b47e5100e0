import type { Invitation, Room } from '../../../shared/contracts/chat.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import { newId } from '../../../shared/ids.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import {
  deleteInvitation,
  findInvitation,
  type InvitationRow,
  insertInvitations,
  listInvitations,
} from '../store/invitations.ts';
import { addMembers, findMembers } from '../store/members.ts';
import { refuseBanned } from './add-members.ts';
import { noteAudit } from './audit.ts';
import { checkedPeople } from './create-room.ts';
import { getRoom } from './get-room.ts';
import { moderatedRoom } from './room-access.ts';

interface PageInput {
  limit: number;
  cursor?: string | undefined;
}

/**
 * Moderators of a group ask people in, who then accept or decline. Who is invited already stays so; members are
 * left out. Throws `forbidden` for course and direct rooms, `conflict` for archived ones and for who is banned.
 */
export async function invite(
  context: ChatContext,
  tools: ChatTools,
  input: { roomId: string; userIds: string[] },
): Promise<{ items: Invitation[] }> {
  const people = await checkedPeople(context, input.userIds);
  return context.transaction(async (tx) => {
    const room = await moderatedRoom(tx, input.roomId);
    if (room.kind !== 'group')
      throw new Problem('forbidden', `The members of a ${room.kind} room are not chosen.`);
    if (room.archived) throw new Problem('conflict', 'The room is archived.');
    const members = new Set((await findMembers(tx.db, room.id, people)).map((member) => member.user_id));
    const userIds = people.filter((userId) => !members.has(userId));
    await refuseBanned(tx, room.id, userIds);
    if (userIds.length === 0) return { items: [] };

    const at = new Date();
    const added = await insertInvitations(
      tx.db,
      userIds.map((userId) => ({
        id: newId(),
        room_id: room.id,
        user_id: userId,
        invited_by: tx.caller.userId,
        created_at: at,
      })),
    );
    const rows = await listInvitations(tx.db, { roomId: room.id, userIds }, userIds.length);
    const items = rows.map(toInvitation);
    const fresh = items.filter(({ id }) => added.has(id));
    if (fresh.length > 0) {
      await noteAudit(tx, room.id, 'invited', { details: { userIds: fresh.map(({ user }) => user.id) } });
      for (const { id, roomId, roomName, user, invitedBy } of fresh) {
        await tx.publish('room.invited', id, {
          userId: user.id,
          invitationId: id,
          roomId,
          roomName,
          invitedBy: invitedBy.id,
          invitedByName: invitedBy.displayName,
        });
      }
      tx.afterCommit(() => {
        for (const invitation of fresh) tools.live.invited(invitation);
      });
    }
    return { items };
  });
}

/** Who is asked into the room and has not answered. For moderators. */
export async function listRoomInvitations(
  context: ChatContext,
  input: PageInput & { roomId: string },
): Promise<Page<Invitation>> {
  const after = decodeCursor<[string]>(input.cursor, ['id'])?.[0];
  const room = await moderatedRoom(context, input.roomId);
  const rows = await listInvitations(context.db, { roomId: room.id }, input.limit, after);
  return toPage(rows, input.limit, (row) => [row.id], toInvitation);
}

/** What the caller is asked into. */
export async function listMyInvitations(context: ChatContext, input: PageInput): Promise<Page<Invitation>> {
  const after = decodeCursor<[string]>(input.cursor, ['id'])?.[0];
  const rows = await listInvitations(context.db, { userId: context.caller.userId }, input.limit, after);
  return toPage(rows, input.limit, (row) => [row.id], toInvitation);
}

/** Takes an invitation back. For moderators; throws `not-found` where there is none. */
export async function withdrawInvitation(
  context: ChatContext,
  input: { roomId: string; userId: string },
): Promise<void> {
  const room = await moderatedRoom(context, input.roomId);
  const userId = input.userId.toLowerCase();
  if (!(await deleteInvitation(context.db, { roomId: room.id, userId }))) throw notFound('invitation');
}

/** The invited one comes in. Throws `not-found` for others, `conflict` when the room was archived meanwhile. */
export async function acceptInvitation(context: ChatContext, invitationId: string): Promise<Room> {
  return context.transaction(async (tx) => {
    const invitation = await ownInvitation(tx, invitationId);
    await refuseBanned(tx, invitation.room_id, [tx.caller.userId]);
    await deleteInvitation(tx.db, { id: invitation.id });
    await addMembers(
      tx.db,
      invitation.room_id,
      [{ userId: tx.caller.userId, role: 'member' as const }],
      new Date(),
    );
    const room = await getRoom(tx, invitation.room_id);
    if (room.archived) throw new Problem('conflict', 'The room is archived.');
    return room;
  });
}

/** The invited one stays out. Throws `not-found` for others. */
export async function declineInvitation(context: ChatContext, invitationId: string): Promise<void> {
  await context.transaction(async (tx) => {
    const invitation = await ownInvitation(tx, invitationId);
    await deleteInvitation(tx.db, { id: invitation.id });
  });
}

async function ownInvitation(tx: ChatContext, invitationId: string): Promise<InvitationRow> {
  const invitation = await findInvitation(tx.db, invitationId);
  if (invitation?.user_id !== tx.caller.userId) throw notFound('invitation');
  return invitation;
}

const toInvitation = (row: InvitationRow): Invitation => ({
  id: row.id,
  roomId: row.room_id,
  roomName: row.room_name,
  user: { id: row.user_id, displayName: row.user_name ?? '' },
  invitedBy: { id: row.invited_by, displayName: row.by_name ?? '' },
  createdAt: row.created_at.toISOString(),
});
