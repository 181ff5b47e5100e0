import type { Room } from '../../../shared/contracts/chat.ts';
import type { ChatContext } from '../context.ts';
import { readableRoom } from './room-access.ts';
import { toRoom } from './to-room.ts';

/** One room as the caller sees it. Throws `not-found` for who may not know of it. */
export async function getRoom(context: ChatContext, roomId: string): Promise<Room> {
  return toRoom(await readableRoom(context, roomId));
}
