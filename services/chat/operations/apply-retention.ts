import type { ChatContext, ChatTools } from '../context.ts';
import { claimOverdueRoom, removeOldest } from '../store/retention.ts';
import { findRoom } from '../store/rooms.ts';
import { toSettings } from './to-room.ts';

/** Messages removed in one transaction: while it runs, nobody sends in the room. */
const AT_ONCE = 500;
const NOBODY = '00000000-0000-0000-0000-000000000000';

/**
 * Removes what rooms no longer keep, from their beginnings, and moves their `firstSeq`: numbers above it have no
 * gaps, and none is used again. A job; any number of processes may run it. Returns how many messages went.
 */
export async function applyRetention(context: ChatContext, tools: ChatTools): Promise<number> {
  let removed = 0;
  for (;;) {
    const step = await context.transaction(async (tx) => {
      const roomId = await claimOverdueRoom(tx.db);
      if (!roomId) return 0;
      const { removed: count } = await removeOldest(tx.db, roomId, AT_ONCE);
      const room = await findRoom(tx.db, roomId, NOBODY);
      if (room) tx.afterCommit(() => tools.live.roomUpdated(toSettings(room)));
      return count;
    });
    if (step === 0) return removed;
    removed += step;
  }
}
