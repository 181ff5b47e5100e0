import type { Message, Room } from '../../../shared/contracts/chat.ts';
import type { ChatContext } from '../context.ts';
import { messagesIn, withReactions } from '../store/messages.ts';
import { changesIn } from './list-changes.ts';
import { readableRoom } from './room-access.ts';
import { toRoom } from './to-room.ts';

const NEWEST = 50;
const CATCH_UP = 200;

export interface JoinPage {
  room: Room;
  messages: Message[];
  hasMore: boolean;
  /** The last number the page reaches: what comes live must begin right after it. */
  upTo: number;
  /** Messages changed since the number asked for, as they are now; none if none was asked for. */
  changes: Message[];
  hasMoreChanges: boolean;
  /** The change up to which the client knows everything now. */
  lastChange: number;
}

/** What a socket gets when it joins: what it missed after `after` and `changesAfter`, or the newest messages. */
export async function joinPage(
  context: ChatContext,
  input: { roomId: string; after?: number | undefined; changesAfter?: number | undefined },
): Promise<JoinPage> {
  // The room first: a change made meanwhile is then in the page and comes live as well, rather than in neither.
  const room = await readableRoom(context, input.roomId);
  const { after, changesAfter } = input;
  const limit = after === undefined ? NEWEST : CATCH_UP;
  const rows = await messagesIn(context.db, room.id, { after, limit: limit + 1 });
  const hasMore = rows.length > limit;
  // The surplus row only tells that there are more: it is the oldest without `after`, the newest with it.
  const wanted = !hasMore ? rows : after === undefined ? rows.slice(1) : rows.slice(0, limit);
  const changes =
    changesAfter === undefined
      ? { items: [], lastChange: room.last_change, hasMore: false }
      : await changesIn(context, room, { after: changesAfter, limit: CATCH_UP });
  return {
    room: toRoom(room),
    messages: await withReactions(context.db, wanted, context.caller.userId),
    hasMore,
    upTo: wanted.at(-1)?.seq ?? Math.min(after ?? room.last_seq, room.last_seq),
    changes: changes.items,
    hasMoreChanges: changes.hasMore,
    lastChange: changes.lastChange,
  };
}
