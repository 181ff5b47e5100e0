import type { Message } from '../../../shared/contracts/chat.ts';
import type { ChatContext } from '../context.ts';
import { messagesIn, type Window, withReactions } from '../store/messages.ts';
import { readableRoom } from './room-access.ts';

/** A window into the room's history, in the order of `seq`: before a number, after one, or the newest. */
export async function listMessages(
  context: ChatContext,
  input: { roomId: string } & Window,
): Promise<{ items: Message[] }> {
  const room = await readableRoom(context, input.roomId);
  const rows = await messagesIn(context.db, room.id, input);
  return { items: await withReactions(context.db, rows, context.caller.userId) };
}
