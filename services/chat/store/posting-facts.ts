import { type Kysely, sql } from 'kysely';
import type { RoomRole } from '../../../shared/contracts/chat.ts';
import type { ChatTables } from './tables.ts';

/** What decides whether somebody may write in a room now. */
export interface PostingFacts {
  archived: boolean;
  locked: boolean;
  slow_mode_seconds: number;
  /** null: no member. */
  role: RoomRole | null;
  last_sent_at: Date | null;
  muted: boolean;
  /** null: without end, where `muted`. */
  muted_until: Date | null;
}

/** In the order of `pairs`; undefined for rooms that are not there. */
export async function postingFacts(
  db: Kysely<ChatTables>,
  pairs: { userId: string; roomId: string }[],
): Promise<(PostingFacts | undefined)[]> {
  const { rows } = await sql<PostingFacts & { place: number }>`
    select w.place::int as place, r.archived, r.locked, r.slow_mode_seconds, m.role, m.last_sent_at,
      s.user_id is not null as muted, s.until as muted_until
    from unnest(${pairs.map(({ roomId }) => roomId)}::uuid[], ${pairs.map(({ userId }) => userId)}::uuid[])
      with ordinality as w (room_id, user_id, place)
    join rooms r on r.id = w.room_id
    left join members m on m.room_id = w.room_id and m.user_id = w.user_id
    left join sanctions s on s.room_id = w.room_id and s.user_id = w.user_id and s.kind = 'mute'
      and (s.until is null or s.until > now())`.execute(db);
  const facts: (PostingFacts | undefined)[] = pairs.map(() => undefined);
  for (const row of rows) facts[row.place - 1] = row;
  return facts;
}
