import { notFound, Problem } from '../../../shared/errors.ts';
import type { ChatContext } from '../context.ts';
import { findMessage, type MessageRow } from '../store/messages.ts';
import { nameUnknownPerson } from '../store/people.ts';
import { findRoom, type RoomRow } from '../store/rooms.ts';
import { findSanction } from '../store/sanctions.ts';
import { lockRooms } from '../store/sending.ts';

/**
 * The room, for one of its members; administrators may look into course rooms. Who is banned from it gets
 * `banned`; anybody else may not know that it exists: throws `not-found`.
 */
export async function readableRoom(context: ChatContext, roomId: string): Promise<RoomRow> {
  const { caller } = context;
  const room = await findRoom(context.db, roomId, caller.userId);
  if (!room) throw notFound('room');
  if (room.my_role !== null || (caller.role === 'admin' && room.kind === 'course')) return room;
  const ban = await findSanction(context.db, room.id, caller.userId, 'ban');
  if (!ban) throw notFound('room');
  throw new Problem(
    'banned',
    ban.until ? `Banned from this room until ${ban.until.toISOString()}.` : 'Banned from this room.',
  );
}

/** The room, for one of its members. An administrator who only looks in gets `forbidden`. */
export async function memberRoom(context: ChatContext, roomId: string): Promise<RoomRow> {
  const room = await readableRoom(context, roomId);
  if (room.my_role === null) throw new Problem('forbidden', 'Only members of the room may do this.');
  return room;
}

/** Whether the caller keeps order in the room: its owner, its moderators, and administrators but in direct rooms. */
export const moderates = (context: ChatContext, room: RoomRow): boolean =>
  room.my_role === 'owner' ||
  room.my_role === 'moderator' ||
  (context.caller.role === 'admin' && room.kind !== 'direct');

/** Whether the room is the caller's: its owner (the course's teacher), and administrators but in direct rooms. */
export const owns = (context: ChatContext, room: RoomRow): boolean =>
  room.my_role === 'owner' || (context.caller.role === 'admin' && room.kind !== 'direct');

/**
 * The room, for those who keep order in it. Administrators do so in groups too, without reading what is said there.
 * Throws `forbidden` for other members and `not-found` for strangers.
 */
export async function moderatedRoom(context: ChatContext, roomId: string): Promise<RoomRow> {
  const room = await governedRoom(context, roomId);
  if (!moderates(context, room)) throw new Problem('forbidden', 'Only moderators of the room may do this.');
  return room;
}

/** The room, for its owner and administrators. Throws as `moderatedRoom` does. */
export async function ownedRoom(context: ChatContext, roomId: string): Promise<RoomRow> {
  const room = await governedRoom(context, roomId);
  if (!owns(context, room)) throw new Problem('forbidden', "Only the room's owner may do this.");
  return room;
}

/** Any room that the caller reads or may keep order in. */
export async function governedRoom(context: ChatContext, roomId: string): Promise<RoomRow> {
  if (context.caller.role === 'admin') {
    const room = await findRoom(context.db, roomId, context.caller.userId);
    if (room && moderates(context, room)) return room;
  }
  return readableRoom(context, roomId);
}

/** Throws `conflict` when the room is archived. */
export function refuseArchived(room: RoomRow): void {
  if (room.archived) throw new Problem('conflict', 'The room is archived: it is read-only.');
}

/**
 * The message and its room as the caller sees it, for a change to the message. Changes of a room are made one after
 * the other: its row stays locked until the transaction ends. Throws `not-found` as the room would.
 */
export async function messageInRoom(
  tx: ChatContext,
  messageId: string,
): Promise<{ message: MessageRow; room: RoomRow }> {
  const found = await findMessage(tx.db, messageId);
  if (!found) throw notFound('message');
  const room = await readableRoom(tx, found.room_id).catch((error: unknown) => {
    throw error instanceof Problem && error.code === 'not-found' ? notFound('message') : error;
  });
  // The room first and then its messages, as in sending: else two transactions could wait for each other.
  await lockRooms(tx.db, [room.id]);
  const message = await findMessage(tx.db, messageId);
  if (!message) throw notFound('message');
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
