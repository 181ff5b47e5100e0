import type { ChatContext, ChatTools } from '../context.ts';
import { visibleMemberIds } from '../store/members.ts';
import { readableRoom } from './room-access.ts';

/** Which members of the room are connected now, but for those who hide it. */
export async function listOnline(
  context: ChatContext,
  tools: ChatTools,
  input: { roomId: string },
): Promise<{ online: string[] }> {
  const room = await readableRoom(context, input.roomId);
  return { online: tools.live.online(await visibleMemberIds(context.db, room.id)) };
}
