import { notFound, Problem } from '../../../shared/errors.ts';
import type { ChatContext } from '../context.ts';
import { lockMessage, type MessageRow } from '../store/messages.ts';
import { nameUnknownPerson } from '../store/people.ts';
import { findRoom, type RoomRow } from '../store/rooms.ts';

/**
 * The room, for one of its members; administrators may look into course rooms. Anybody else may not know that
 * it exists: throws `not-found`.
 */
export async function readableRoom(context: ChatContext, roomId: string): Promise<RoomRow> {
  const { caller } = context;
  const room = await findRoom(context.db, roomId, caller.userId);
  if (!room) throw notFound('room');
  if (room.my_role === null && !(caller.role === 'admin' && room.kind === 'course')) throw notFound('room');
  return room;
}

/** The room, for one of its members. An administrator who only looks in gets `forbidden`. */
export async function memberRoom(context: ChatContext, roomId: string): Promise<RoomRow> {
  const room = await readableRoom(context, roomId);
  if (room.my_role === null) throw new Problem('forbidden', 'Only members of the room may do this.');
  return room;
}

/** Throws `conflict` when the room's course is archived. */
export function refuseArchived(room: RoomRow): void {
  if (room.archived) throw new Problem('conflict', 'The course is archived: its room is read-only.');
}

/** The message and its room as the caller sees it, the message locked. Throws `not-found` as the room would. */
export async function messageInRoom(
  tx: ChatContext,
  messageId: string,
): Promise<{ message: MessageRow; room: RoomRow }> {
  const message = await lockMessage(tx.db, messageId);
  if (!message) throw notFound('message');
  const room = await readableRoom(tx, message.room_id).catch((error: unknown) => {
    throw error instanceof Problem && error.code === 'not-found' ? notFound('message') : error;
  });
  return { message, room };
}

/** The caller's newest name; kept from the token while no event has told it. */
export async function callerName(context: ChatContext, room: RoomRow): Promise<string> {
  if (room.my_name !== null) return room.my_name;
  await nameCaller(context);
  return context.caller.name;
}

/** So that others see a name for the caller, even if `user.registered` has not arrived. */
export async function nameCaller(context: ChatContext): Promise<void> {
  if (context.caller.name !== '')
    await nameUnknownPerson(context.db, context.caller.userId, context.caller.name);
}
