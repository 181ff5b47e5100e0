import { type Kysely, sql } from 'kysely';
import { type MessageRow, messageRows } from './messages.ts';
import type { ChatTables } from './tables.ts';

/** Where a change stands, as `MessageChange` of the contract says it. */
export interface ChangeNumber {
  seq: number;
  changeSeq: number;
}

/**
 * Gives a change to a message the room's next number: `const number = await recordChange(tx.db, roomId, messageId)`
 * in the transaction of the change, then `tools.live.…({ …, ...number })` after the commit. Takes the room's row
 * (`messageInRoom` has it already), so numbers follow the order of commits and a rollback leaves no gap.
 */
export async function recordChange(
  db: Kysely<ChatTables>,
  roomId: string,
  messageId: string,
): Promise<ChangeNumber> {
  return (await recordChanges(db, [{ roomId, messageId }])).get(messageId)!;
}

/** The same for several messages, each once, in the order given. By message id. */
export async function recordChanges(
  db: Kysely<ChatTables>,
  changed: { roomId: string; messageId: string }[],
): Promise<Map<string, ChangeNumber>> {
  if (changed.length === 0) return new Map();
  const { rows } = await sql<{ id: string; seq: number; change_seq: number }>`
    with wanted as (
      select room_id, message_id, row_number() over (partition by room_id order by n)::int as place
      from unnest(${changed.map(({ roomId }) => roomId)}::uuid[], ${changed.map(({ messageId }) => messageId)}::uuid[])
        with ordinality as w (room_id, message_id, n)),
    taken as (
      update rooms r set last_change = r.last_change + w.count
      from (select room_id, max(place) as count from wanted group by room_id) w
      where r.id = w.room_id returning r.id, r.last_change - w.count as before)
    update messages m set change_seq = t.before + w.place
    from wanted w join taken t on t.id = w.room_id where m.id = w.message_id
    returning m.id, m.seq, m.change_seq`.execute(db);
  return new Map(rows.map((row) => [row.id, { seq: row.seq, changeSeq: row.change_seq }]));
}

/** Messages changed after a number, as they are now, in the order of their last change. */
export const changedSince = (
  db: Kysely<ChatTables>,
  roomId: string,
  after: number,
  limit: number,
): Promise<MessageRow[]> =>
  messageRows(db)
    .where('x.room_id', '=', roomId)
    .where('x.change_seq', '>', after)
    // Says what the index on changed messages says, so that it is used.
    .where('x.change_seq', '>', 0)
    .orderBy('x.change_seq')
    .limit(limit)
    .execute();
