import { type Kysely, sql } from 'kysely';

/** Rejects when the database does not answer. For readiness checks. */
// biome-ignore lint/suspicious/noExplicitAny: any schema can be asked
export async function databaseReady(db: Kysely<any>): Promise<void> {
  await sql`select 1`.execute(db);
}
