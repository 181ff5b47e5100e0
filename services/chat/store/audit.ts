import { type Kysely, type Selectable, sql } from 'kysely';
import type { ChatTables } from './tables.ts';

export type AuditRow = Selectable<ChatTables['audit']> & {
  actor_name: string | null;
  target_name: string | null;
};

export async function insertAudit(
  db: Kysely<ChatTables>,
  entry: Selectable<ChatTables['audit']>,
): Promise<void> {
  await db.insertInto('audit').values(entry).execute();
}

/** Newest first, of one room or of all; one more than `limit` if there are more. */
export function listAudit(
  db: Kysely<ChatTables>,
  roomId: string | undefined,
  limit: number,
  before?: string,
): Promise<AuditRow[]> {
  let query = db
    .selectFrom('audit as a')
    .leftJoin('people as p', 'p.user_id', 'a.actor_id')
    .leftJoin('people as t', 't.user_id', 'a.target_id')
    .selectAll('a')
    .select(['p.display_name as actor_name', 't.display_name as target_name']);
  if (roomId) query = query.where('a.room_id', '=', roomId);
  if (before) query = query.where(sql<boolean>`a.id < ${before}::uuid`);
  return query
    .orderBy('a.id', 'desc')
    .limit(limit + 1)
    .execute();
}
