import type { ChatContext, ChatTools } from '../context.ts';
import { markReadUpTo } from '../store/members.ts';
import { memberRoom } from './room-access.ts';

/** Moves the caller's read mark forward, at most to the last message, and tells the room. Never moves back. */
export async function markRead(
  context: ChatContext,
  tools: ChatTools,
  input: { roomId: string; seq: number },
): Promise<{ seq: number }> {
  const { userId } = context.caller;
  return context.transaction(async (tx) => {
    const room = await memberRoom(tx, input.roomId);
    const mark = await markReadUpTo(tx.db, room.id, userId, Math.min(input.seq, room.last_seq));
    if (mark.moved)
      tx.afterCommit(() => tools.live.read({ roomId: room.id, userId, seq: mark.seq }, room.receipts));
    return { seq: mark.seq };
  });
}
