import type { Kysely, Selectable } from 'kysely';
import type { Role } from '../../../shared/contracts/common.ts';
import { likePattern } from '../../../shared/db/like-pattern.ts';
import type { AuthTables, UsersTable } from './tables.ts';

export type UserRow = Selectable<UsersTable>;

/** Undefined when the address is taken. */
export async function insertUser(
  db: Kysely<AuthTables>,
  user: {
    id: string;
    email: string;
    displayName: string;
    passwordHash: string;
    role: Role;
    verified: boolean;
  },
): Promise<UserRow | undefined> {
  return db
    .insertInto('users')
    .values({
      id: user.id,
      email: user.email,
      display_name: user.displayName,
      password_hash: user.passwordHash,
      role: user.role,
      role_changed_at: null,
      email_verified_at: user.verified ? new Date() : null,
      disabled_at: null,
    })
    .onConflict((conflict) => conflict.column('email').doNothing())
    .returningAll()
    .executeTakeFirst();
}

export const findUser = (db: Kysely<AuthTables>, id: string): Promise<UserRow | undefined> =>
  db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst();

export const findUserByEmail = (db: Kysely<AuthTables>, email: string): Promise<UserRow | undefined> =>
  db.selectFrom('users').selectAll().where('email', '=', email).executeTakeFirst();

/** The row, locked until the transaction ends. */
export const lockUser = (db: Kysely<AuthTables>, id: string): Promise<UserRow | undefined> =>
  db.selectFrom('users').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();

export async function updateUser(
  db: Kysely<AuthTables>,
  id: string,
  change: Partial<
    Pick<UserRow, 'password_hash' | 'email_verified_at' | 'role' | 'role_changed_at' | 'disabled_at'>
  >,
): Promise<UserRow> {
  return db.updateTable('users').set(change).where('id', '=', id).returningAll().executeTakeFirstOrThrow();
}

/** Takes a display name that is newer than the one we have; an older event changes nothing. */
export async function renameUser(
  db: Kysely<AuthTables>,
  id: string,
  displayName: string,
  at: Date,
): Promise<void> {
  await db
    .updateTable('users')
    .set({ display_name: displayName, display_name_at: at })
    .where('id', '=', id)
    .where('display_name_at', '<', at)
    .execute();
}

/** Newest first; `q` matches a part of the name or address, taken literally. */
export async function searchUsers(
  db: Kysely<AuthTables>,
  search: { q?: string | undefined; role?: Role | undefined; beforeId?: string | undefined; limit: number },
): Promise<UserRow[]> {
  let query = db.selectFrom('users').selectAll().orderBy('id', 'desc').limit(search.limit);
  if (search.role) query = query.where('role', '=', search.role);
  if (search.beforeId) query = query.where('id', '<', search.beforeId);
  if (search.q) {
    const pattern = likePattern(search.q);
    query = query.where((row) =>
      row.or([row('email', 'ilike', pattern), row('display_name', 'ilike', pattern)]),
    );
  }
  return query.execute();
}

export async function countAdmins(db: Kysely<AuthTables>): Promise<number> {
  const row = await db
    .selectFrom('users')
    .select((select) => select.fn.countAll<number>().as('count'))
    .where('role', '=', 'admin')
    .where('disabled_at', 'is', null)
    .executeTakeFirstOrThrow();
  return Number(row.count);
}

/** Users whose role changed since `since`: tokens with the old one may still be about. */
export const roleChangesSince = (
  db: Kysely<AuthTables>,
  since: Date,
): Promise<Pick<UserRow, 'id' | 'role'>[]> =>
  db.selectFrom('users').select(['id', 'role']).where('role_changed_at', '>', since).execute();
