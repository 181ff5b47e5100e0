import { Problem } from '../../../shared/errors.ts';
import type { ChatContext } from '../context.ts';
import { messagesIn, withReactions } from '../store/messages.ts';
import type { RoomRow } from '../store/rooms.ts';
import { noteAudit } from './audit.ts';
import { owns, readableRoom } from './room-access.ts';
import { toRoom } from './to-room.ts';

const PAGE = 500;

/**
 * The room as NDJSON: `{type:"room", room}`, then every message up to the last one there is now as
 * `{type:"message", message}` in the order of `seq`, and at the end `{type:"end", messages, lastSeq}`, without which the
 * export is not whole. For the room's owner, in a direct room for both. Pages are read as the client takes them.
 */
export async function exportRoom(context: ChatContext, roomId: string): Promise<ReadableStream<Uint8Array>> {
  const room = await context.transaction(async (tx) => {
    const found = await readableRoom(tx, roomId);
    if (!owns(tx, found) && found.kind !== 'direct')
      throw new Problem('forbidden', "Only the room's owner may export it.");
    if (found.kind !== 'direct') await noteAudit(tx, found.id, 'exported');
    return found;
  });
  return streamOf(lines(context, room));
}

async function* lines(context: ChatContext, room: RoomRow): AsyncGenerator<string> {
  yield line({ type: 'room', room: toRoom(room) });
  let messages = 0;
  for (let after = 0; after < room.last_seq; ) {
    const rows = await messagesIn(context.db, room.id, { after, limit: PAGE });
    const wanted = rows.filter((row) => row.seq <= room.last_seq);
    const page = await withReactions(context.db, wanted, context.caller.userId);
    if (page.length > 0) yield page.map((message) => line({ type: 'message', message })).join('');
    messages += page.length;
    after = wanted.length === rows.length ? (rows.at(-1)?.seq ?? room.last_seq) : room.last_seq;
  }
  yield line({ type: 'end', messages, lastSeq: room.last_seq });
}

const line = (value: object): string => `${JSON.stringify(value)}\n`;

function streamOf(texts: AsyncGenerator<string>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream(
    {
      async pull(controller) {
        const { value, done } = await texts.next();
        if (done) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
      async cancel() {
        await texts.return(undefined);
      },
    },
    { highWaterMark: 1 },
  );
}
