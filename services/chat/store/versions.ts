import { type Kysely, sql } from 'kysely';
import type { ChatTables } from './tables.ts';

export interface VersionRow {
  version: number;
  body: string;
  written_at: Date;
}

/** Keeps what a message said until now. */
export async function keepVersion(
  db: Kysely<ChatTables>,
  messageId: string,
  body: string,
  writtenAt: Date,
): Promise<void> {
  await sql`
    insert into message_versions (message_id, version, body, written_at)
    select ${messageId}::uuid, coalesce(max(version), 0) + 1, ${body}, ${writtenAt}::timestamptz
    from message_versions where message_id = ${messageId}`.execute(db);
}

/** From the first on, up to what it says now; one more than `limit` if there are more. */
export async function listVersions(
  db: Kysely<ChatTables>,
  messageId: string,
  limit: number,
  after: number,
): Promise<VersionRow[]> {
  const { rows } = await sql<VersionRow>`
    select version, body, written_at from (
      select version, body, written_at from message_versions where message_id = ${messageId}
      union all
      select (select count(*)::int + 1 from message_versions v where v.message_id = m.id), m.body,
        coalesce(m.edited_at, m.created_at)
      from messages m where m.id = ${messageId} and m.deleted_at is null) versions
    where version > ${after} order by version limit ${limit + 1}`.execute(db);
  return rows;
}

export async function deleteVersions(db: Kysely<ChatTables>, messageId: string): Promise<void> {
  await db.deleteFrom('message_versions').where('message_id', '=', messageId).execute();
}
