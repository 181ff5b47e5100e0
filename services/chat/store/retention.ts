import { type Kysely, sql } from 'kysely';
import type { ChatTables } from './tables.ts';

/** A room of which something is too old, locked; undefined if there is none, or others are at them all. */
export async function claimOverdueRoom(db: Kysely<ChatTables>): Promise<string | undefined> {
  const { rows } = await sql<{ id: string }>`
    select r.id from rooms r
    where r.retention_days is not null and exists (
      select 1 from messages m where m.room_id = r.id and m.seq = r.first_seq
        and m.created_at < now() - make_interval(days => r.retention_days))
    limit 1 for update of r skip locked`.execute(db);
  return rows[0]?.id;
}

/**
 * Removes up to `limit` messages from the room's beginning that are too old, and moves `first_seq` to where the
 * rest begins. Numbers are never used again. Returns how many went, and where it begins now.
 */
export async function removeOldest(
  db: Kysely<ChatTables>,
  roomId: string,
  limit: number,
): Promise<{ removed: number; firstSeq: number }> {
  const { rows } = await sql<{ removed: number; first_seq: number }>`
    with bounds as (
      select least(
        coalesce(
          (select min(m.seq) from messages m where m.room_id = r.id and m.seq >= r.first_seq
             and m.seq < r.first_seq + ${limit}
             and m.created_at >= now() - make_interval(days => r.retention_days)),
          r.first_seq + ${limit}),
        r.last_seq + 1) as first
      from rooms r where r.id = ${roomId}),
    gone as (delete from messages m using bounds b where m.room_id = ${roomId} and m.seq < b.first returning 1)
    update rooms r set first_seq = greatest(r.first_seq, b.first) from bounds b where r.id = ${roomId}
    returning r.first_seq, (select count(*)::int from gone) as removed`.execute(db);
  const [row] = rows;
  return { removed: row?.removed ?? 0, firstSeq: row?.first_seq ?? 1 };
}
