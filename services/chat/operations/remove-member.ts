import { notFound, Problem } from '../../../shared/errors.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { removeMember as deleteMember, ensureOwner } from '../store/members.ts';
import { readableRoom } from './room-access.ts';

/** Leaves a group, or as its owner takes somebody out; their sockets leave the room at once. */
export async function removeMember(
  context: ChatContext,
  tools: ChatTools,
  input: { roomId: string; userId: string },
): Promise<void> {
  const room = await readableRoom(context, input.roomId);
  if (room.kind !== 'group')
    throw new Problem('forbidden', `The members of a ${room.kind} room are not chosen.`);
  const userId = input.userId.toLowerCase();
  if (userId !== context.caller.userId && room.my_role !== 'owner') {
    throw new Problem('forbidden', "Only the room's owner may take members out.");
  }
  await context.transaction(async (tx) => {
    if (!(await deleteMember(tx.db, room.id, userId))) throw notFound('member');
    await ensureOwner(tx.db, room.id);
    tx.afterCommit(() => tools.live.leave(room.id, userId));
  });
}
