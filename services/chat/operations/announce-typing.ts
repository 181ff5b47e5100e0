import type { ChatContext, ChatTools } from '../context.ts';
import { callerName, memberRoom, refuseArchived } from './room-access.ts';

/** Tells the others in the room that the caller is writing. */
export async function announceTyping(
  context: ChatContext,
  tools: ChatTools,
  input: { roomId: string },
): Promise<void> {
  const room = await memberRoom(context, input.roomId);
  refuseArchived(room);
  const displayName = await callerName(context, room);
  tools.live.typing({ roomId: room.id, userId: context.caller.userId, displayName });
}
