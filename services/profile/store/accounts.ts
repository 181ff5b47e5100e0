import { sql } from 'kysely';
import type { Role } from '../../../shared/contracts/common.ts';
import type { Executor } from '../../../shared/db/kernel.ts';
import type { ProfileTables } from './tables.ts';

type Db = Executor<ProfileTables>;

/** Takes a role as of `at`; an older one that arrives late changes nothing. */
export async function setRole(db: Db, userId: string, role: Role, at: string): Promise<void> {
  await sql`insert into accounts (user_id, role, role_at) values (${userId}, ${role}, ${at})
    on conflict (user_id) do update set role = excluded.role, role_at = excluded.role_at
    where accounts.role_at <= excluded.role_at`.execute(db);
}

export async function setDisabled(db: Db, userId: string, disabled: boolean, at: string): Promise<void> {
  await sql`insert into accounts (user_id, disabled, disabled_at) values (${userId}, ${disabled}, ${at})
    on conflict (user_id) do update set disabled = excluded.disabled, disabled_at = excluded.disabled_at
    where accounts.disabled_at <= excluded.disabled_at`.execute(db);
}

/** Remembers that the account is gone, so that nothing that arrives late brings the profile back. */
export async function markDeleted(db: Db, userId: string): Promise<void> {
  await sql`insert into accounts (user_id, deleted) values (${userId}, true)
    on conflict (user_id) do update set deleted = true`.execute(db);
}

export async function isDeleted(db: Db, userId: string): Promise<boolean> {
  const row = await db
    .selectFrom('accounts')
    .select('deleted')
    .where('user_id', '=', userId)
    .executeTakeFirst();
  return row?.deleted ?? false;
}
