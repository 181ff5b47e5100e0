import type { ChangeList } from '../../../shared/contracts/chat.ts';
import type { ChatContext } from '../context.ts';
import { changedSince } from '../store/changes.ts';
import { withReactions } from '../store/messages.ts';
import { readableRoom } from './room-access.ts';

/**
 * Messages changed after a number, as they are now: whoever applies them has the state of one who saw every change.
 * A message that changed several times comes once, where its last change is, so there is no log that grows.
 */
export async function listChanges(
  context: ChatContext,
  input: { roomId: string; after: number; limit: number },
): Promise<ChangeList> {
  // The room first: the changes then reach at least as far as it says.
  const room = await readableRoom(context, input.roomId);
  const rows = await changedSince(context.db, room.id, input.after, input.limit + 1);
  const hasMore = rows.length > input.limit;
  const shown = rows.slice(0, input.limit);
  const reached = shown.at(-1)?.change_seq ?? input.after;
  return {
    items: await withReactions(context.db, shown, context.caller.userId),
    lastChange: hasMore ? reached : Math.max(reached, room.last_change),
    hasMore,
  };
}
