import { sql } from 'kysely';
import type { Db } from './tables.ts';

/** Keeps the newest name told; an older event that comes late changes nothing. */
export async function saveName(db: Db, userId: string, displayName: string, at: Date): Promise<void> {
  await sql`insert into people (user_id, display_name, name_at) values (${userId}, ${displayName}, ${at})
    on conflict (user_id) do update set display_name = excluded.display_name, name_at = excluded.name_at
    where people.name_at is null or people.name_at < excluded.name_at`.execute(db);
}

/** Keeps the newest role told. */
export async function saveRole(db: Db, userId: string, role: string, at: Date): Promise<void> {
  await sql`insert into people (user_id, role, role_at) values (${userId}, ${role}, ${at})
    on conflict (user_id) do update set role = excluded.role, role_at = excluded.role_at
    where people.role_at is null or people.role_at < excluded.role_at`.execute(db);
}

export async function nameOf(db: Db, userId: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('people')
    .select('display_name')
    .where('user_id', '=', userId)
    .executeTakeFirst();
  return row?.display_name ?? undefined;
}
