import { type Kysely, type Selectable, sql } from 'kysely';
import type { SanctionKind } from '../../../shared/contracts/chat-moderation.ts';
import type { ChatTables, SanctionsTable } from './tables.ts';

export type SanctionRow = Selectable<SanctionsTable> & { name: string | null; by_name: string | null };

const inForce = sql<boolean>`(s.until is null or s.until > now())`;

const sanctionRows = (db: Kysely<ChatTables>, roomId: string) =>
  db
    .selectFrom('sanctions as s')
    .leftJoin('people as p', 'p.user_id', 's.user_id')
    .leftJoin('people as b', 'b.user_id', 's.created_by')
    .where('s.room_id', '=', roomId)
    .where(inForce)
    .selectAll('s')
    .select(['p.display_name as name', 'b.display_name as by_name']);

/** Those in force, newest first; one more than `limit` if there are more. */
export function listSanctions(
  db: Kysely<ChatTables>,
  roomId: string,
  limit: number,
  after?: [createdAt: string, userId: string],
): Promise<SanctionRow[]> {
  let query = sanctionRows(db, roomId);
  if (after) {
    query = query.where(
      sql<boolean>`(s.created_at, s.user_id) < (${after[0]}::timestamptz, ${after[1]}::uuid)`,
    );
  }
  return query
    .orderBy('s.created_at', 'desc')
    .orderBy('s.user_id', 'desc')
    .limit(limit + 1)
    .execute();
}

/** The one in force, if there is one. */
export const findSanction = (
  db: Kysely<ChatTables>,
  roomId: string,
  userId: string,
  kind: SanctionKind,
): Promise<SanctionRow | undefined> =>
  sanctionRows(db, roomId).where('s.user_id', '=', userId).where('s.kind', '=', kind).executeTakeFirst();

/** Which of the users may not come in now. */
export async function bannedAmong(
  db: Kysely<ChatTables>,
  roomId: string,
  userIds: string[],
): Promise<Set<string>> {
  if (userIds.length === 0) return new Set();
  const rows = await db
    .selectFrom('sanctions as s')
    .select('s.user_id')
    .where('s.room_id', '=', roomId)
    .where('s.kind', '=', 'ban')
    .where('s.user_id', 'in', userIds)
    .where(inForce)
    .execute();
  return new Set(rows.map((row) => row.user_id));
}

/** A later one takes the place of an earlier one; that a ban has ended a membership is not forgotten. */
export async function putSanction(
  db: Kysely<ChatTables>,
  sanction: Selectable<SanctionsTable>,
): Promise<void> {
  const { room_id, user_id, kind, took_out, ...facts } = sanction;
  await db
    .insertInto('sanctions')
    .values(sanction)
    .onConflict((conflict) =>
      conflict.columns(['room_id', 'user_id', 'kind']).doUpdateSet((eb) => ({
        ...facts,
        took_out: sql<boolean>`${eb.ref('sanctions.took_out')} or ${took_out}`,
      })),
    )
    .execute();
}

/** True if there was one. */
export async function deleteSanction(
  db: Kysely<ChatTables>,
  roomId: string,
  userId: string,
  kind: SanctionKind,
): Promise<{ took_out: boolean } | undefined> {
  return db
    .deleteFrom('sanctions')
    .where('room_id', '=', roomId)
    .where('user_id', '=', userId)
    .where('kind', '=', kind)
    .returning('took_out')
    .executeTakeFirst();
}

/** Claims sanctions that are over, so that each is ended by one process. */
export async function takeExpired(
  db: Kysely<ChatTables>,
  limit: number,
): Promise<Pick<SanctionRow, 'room_id' | 'user_id' | 'kind' | 'took_out'>[]> {
  const { rows } = await sql<Pick<SanctionRow, 'room_id' | 'user_id' | 'kind' | 'took_out'>>`
    delete from sanctions where (room_id, user_id, kind) in (
      select room_id, user_id, kind from sanctions where until <= now()
      order by until limit ${limit} for update skip locked)
    returning room_id, user_id, kind, took_out`.execute(db);
  return rows;
}
