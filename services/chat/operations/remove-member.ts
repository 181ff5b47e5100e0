import { notFound, Problem } from '../../../shared/errors.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { removeMember as deleteMember, ensureOwner } from '../store/members.ts';
import { noteAudit } from './audit.ts';
import { refuseOutranked } from './ranks.ts';
import { governedRoom, moderates } from './room-access.ts';

/** Leaves a group, or as its moderator takes somebody out; their sockets leave the room at once. */
export async function removeMember(
  context: ChatContext,
  tools: ChatTools,
  input: { roomId: string; userId: string },
): Promise<void> {
  const room = await governedRoom(context, input.roomId);
  if (room.kind !== 'group')
    throw new Problem('forbidden', `The members of a ${room.kind} room are not chosen.`);
  const userId = input.userId.toLowerCase();
  const leaves = userId === context.caller.userId;
  if (!leaves && !moderates(context, room)) {
    throw new Problem('forbidden', 'Only moderators may take members out.');
  }
  await context.transaction(async (tx) => {
    if (!leaves) await refuseOutranked(tx, room, userId);
    const reason = leaves ? 'left' : 'kicked';
    if (!(await deleteMember(tx.db, room.id, userId, reason))) throw notFound('member');
    await ensureOwner(tx.db, room.id);
    if (!leaves) await noteAudit(tx, room.id, 'kicked', { targetId: userId });
    tx.afterCommit(() => tools.live.leave(room.id, userId, reason));
  });
}
