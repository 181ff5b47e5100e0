import type { Message, Room } from '../../../shared/contracts/chat.ts';
import type { ChatContext } from '../context.ts';
import { messagesIn, withReactions } from '../store/messages.ts';
import { changesIn } from './list-changes.ts';
import { readableRoom } from './room-access.ts';
import { toRoom } from './to-room.ts';

const NEWEST = 50;
const CATCH_UP = 200;

export interface JoinPage {
  /** Its last numbers are those of the snapshot: what comes live must begin right after them. */
  room: Room;
  messages: Message[];
  hasMore: boolean;
  /**
   * Messages changed since the number asked for, as they are now; none if none was asked for. None that the page's
   * messages do not reach yet: they come, as they are, with a later page.
   */
  changes: Message[];
  hasMoreChanges: boolean;
  /** The change up to which the client knows everything now. */
  lastChange: number;
}

/**
 * What a socket gets when it joins: what it missed after `after` and `changesAfter`, or the newest messages. All of
 * it is of one moment, so that whatever comes live is either in it or newer than all of it.
 */
export const joinPage = (
  context: ChatContext,
  input: { roomId: string; after?: number | undefined; changesAfter?: number | undefined },
): Promise<JoinPage> =>
  context.snapshot(async (context) => {
    const room = await readableRoom(context, input.roomId);
    const { after, changesAfter } = input;
    const limit = after === undefined ? NEWEST : CATCH_UP;
    const rows = await messagesIn(context.db, room.id, { after, limit: limit + 1 });
    const hasMore = rows.length > limit;
    // The surplus row only tells that there are more: it is the oldest without `after`, the newest with it.
    const wanted = !hasMore ? rows : after === undefined ? rows.slice(1) : rows.slice(0, limit);
    const upTo = wanted.at(-1)?.seq ?? room.last_seq;
    const changes =
      changesAfter === undefined
        ? { items: [], lastChange: room.last_change, hasMore: false }
        : await changesIn(context, room, { after: changesAfter, limit: CATCH_UP, upTo });
    return {
      room: toRoom(room),
      messages: await withReactions(context.db, wanted, context.caller.userId),
      hasMore,
      changes: changes.items,
      hasMoreChanges: changes.hasMore,
      lastChange: changes.lastChange,
    };
  });
