import type { Room, RoomChange } from '../../../shared/contracts/chat.ts';
import { Problem } from '../../../shared/errors.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { changeRoom as updateRoom } from '../store/rooms.ts';
import { noteAudit } from './audit.ts';
import { governedRoom, moderates, owns } from './room-access.ts';
import { toRoom, toSettings } from './to-room.ts';

/** What moderators may change too. */
const FOR_MODERATORS: readonly string[] = ['locked', 'slowModeSeconds'];
/** What a course decides about its room. */
const FOLLOWS_COURSE: readonly string[] = ['name', 'archived'];

/**
 * Renames, archives or sets up a room. Its owner may change everything, moderators lock it and slow it down; name
 * and archiving of a course's room follow the course; of a direct room both may turn receipts on and off, and
 * nothing else can be changed. Throws `forbidden`.
 */
export async function changeRoom(
  context: ChatContext,
  tools: ChatTools,
  input: { roomId: string; change: RoomChange },
): Promise<Room> {
  return context.transaction(async (tx) => {
    const room = await governedRoom(tx, input.roomId);
    const wanted = Object.keys(input.change);
    if (room.kind === 'direct') {
      if (wanted.some((field) => field !== 'receipts'))
        throw new Problem('forbidden', 'A direct room has no settings but its receipts.');
    } else if (!moderates(tx, room)) {
      throw new Problem('forbidden', 'Only moderators of the room may do this.');
    } else if (!owns(tx, room) && wanted.some((field) => !FOR_MODERATORS.includes(field))) {
      throw new Problem('forbidden', "Only the room's owner may do this.");
    }
    if (room.kind === 'course' && wanted.some((field) => FOLLOWS_COURSE.includes(field)))
      throw new Problem('forbidden', "Name and archiving of a course's room follow the course.");

    if (wanted.length === 0) return toRoom(room);
    await updateRoom(tx.db, room.id, input.change);
    if (room.kind !== 'direct') await noteAudit(tx, room.id, 'room-changed', { details: input.change });
    const changed = await governedRoom(tx, room.id);
    tx.afterCommit(() => tools.live.roomUpdated(toSettings(changed)));
    return toRoom(changed);
  });
}
