import type { ChatContext, ChatTools } from '../context.ts';
import { hidesPresence } from '../store/people.ts';
import { refuseSilenced } from './posting-rules.ts';
import { callerName, memberRoom } from './room-access.ts';

/**
 * Tells the others in the room that the caller is writing, unless the caller hides presence. Throws what would keep
 * the caller from writing: `conflict` (archived), `muted`, `room-locked`.
 */
export async function announceTyping(
  context: ChatContext,
  tools: ChatTools,
  input: { roomId: string },
): Promise<void> {
  const room = await memberRoom(context, input.roomId);
  await refuseSilenced(context, room.id);
  if (await hidesPresence(context.db, context.caller.userId)) return;
  const displayName = await callerName(context, room);
  tools.live.typing({ roomId: room.id, userId: context.caller.userId, displayName });
}
