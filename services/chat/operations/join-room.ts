import type { Message, Room } from '../../../shared/contracts/chat.ts';
import type { ChatContext } from '../context.ts';
import { changedSince } from '../store/changes.ts';
import { messagesIn, withReactions } from '../store/messages.ts';
import { readableRoom } from './room-access.ts';
import { toRoom } from './to-room.ts';

const NEWEST = 50;
const CATCH_UP = 200;

export interface JoinPage {
  /** Its last numbers are where the page ends: what comes live must begin right after them. */
  room: Room;
  messages: Message[];
  hasMore: boolean;
  /**
   * Messages changed since the number asked for, as they are now; none if none was asked for. None that the page's
   * messages do not reach yet: they come, as they are, with a later page.
   */
  changes: Message[];
  hasMoreChanges: boolean;
  /** The change up to which the client knows everything now, of the messages that it has. */
  lastChange: number;
}

/**
 * What a socket gets when it joins: what it missed after `after` and `changesAfter`, or the newest messages. The page
 * ends at the numbers that the room has first of all. What is read after it may be newer, never older: a message
 * that is newer than the page is not in it, so that all its changes are still to come, and of the others there may
 * be a change more than the page says, which by its number is known when it comes.
 */
export async function joinPage(
  context: ChatContext,
  input: { roomId: string; after?: number | undefined; changesAfter?: number | undefined },
): Promise<JoinPage> {
  const room = await readableRoom(context, input.roomId);
  const { after, changesAfter } = input;
  const limit = after === undefined ? NEWEST : CATCH_UP;
  const window = after === undefined ? { before: room.last_seq + 1 } : { after };
  const read = await messagesIn(context.db, room.id, { ...window, limit: limit + 1 });
  const rows = read.filter(({ seq }) => seq <= room.last_seq);
  const hasMore = rows.length > limit;
  // The surplus row only tells that there are more: it is the oldest without `after`, the newest with it.
  const wanted = !hasMore ? rows : after === undefined ? rows.slice(1) : rows.slice(0, limit);
  const upTo = wanted.at(-1)?.seq ?? room.last_seq;

  const changed =
    changesAfter === undefined ? [] : await changedSince(context.db, room.id, changesAfter, CATCH_UP + 1);
  const hasMoreChanges = changed.length > CATCH_UP;
  const shown = changed.slice(0, CATCH_UP);
  const lastChange = hasMoreChanges ? shown.at(-1)!.change_seq : room.last_change;
  // A whole page of them has been made since the room was read, and has hidden some from before.
  if (lastChange > room.last_change) return joinPage(context, input);

  const known = shown.filter(({ seq }) => seq <= upTo);
  return {
    room: toRoom(room),
    messages: await withReactions(context.db, wanted, context.caller.userId),
    hasMore,
    changes: await withReactions(context.db, known, context.caller.userId),
    hasMoreChanges,
    lastChange,
  };
}
