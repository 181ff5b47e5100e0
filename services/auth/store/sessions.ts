import type { Kysely, Selectable } from 'kysely';
import type { AuthTables, SessionsTable } from './tables.ts';

export type SessionRow = Selectable<SessionsTable>;

export async function insertSession(
  db: Kysely<AuthTables>,
  session: { id: string; userId: string; expiresAt: Date; ip: string; userAgent: string },
): Promise<void> {
  await db
    .insertInto('sessions')
    .values({
      id: session.id,
      user_id: session.userId,
      expires_at: session.expiresAt,
      ip: session.ip,
      user_agent: session.userAgent,
      revoked_at: null,
    })
    .execute();
}

export const lockSession = (db: Kysely<AuthTables>, id: string): Promise<SessionRow | undefined> =>
  db.selectFrom('sessions').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();

export async function touchSession(
  db: Kysely<AuthTables>,
  id: string,
  use: { expiresAt: Date; ip: string; userAgent: string },
): Promise<void> {
  await db
    .updateTable('sessions')
    .set({ last_used_at: new Date(), expires_at: use.expiresAt, ip: use.ip, user_agent: use.userAgent })
    .where('id', '=', id)
    .execute();
}

export const liveSessions = (
  db: Kysely<AuthTables>,
  userId: string,
  page: { beforeId?: string | undefined; limit: number },
): Promise<SessionRow[]> => {
  let query = db
    .selectFrom('sessions')
    .selectAll()
    .where('user_id', '=', userId)
    .where('revoked_at', 'is', null)
    .where('expires_at', '>', new Date())
    .orderBy('id', 'desc')
    .limit(page.limit);
  if (page.beforeId) query = query.where('id', '<', page.beforeId);
  return query.execute();
};

/** Ends live sessions of a user: one, all, or all but one. Returns the ids of those it ended. */
export async function endSessions(
  db: Kysely<AuthTables>,
  userId: string,
  which: { only?: string; except?: string } = {},
): Promise<string[]> {
  let query = db
    .updateTable('sessions')
    .set({ revoked_at: new Date() })
    .where('user_id', '=', userId)
    .where('revoked_at', 'is', null);
  if (which.only) query = query.where('id', '=', which.only);
  if (which.except) query = query.where('id', '!=', which.except);
  const rows = await query.returning('id').execute();
  return rows.map((row) => row.id);
}

export const sessionsRevokedSince = (
  db: Kysely<AuthTables>,
  since: Date,
): Promise<Pick<SessionRow, 'id'>[]> =>
  db.selectFrom('sessions').select('id').where('revoked_at', '>', since).execute();

/** Sessions that ended or ran out long ago, with their tokens. */
export async function deleteOldSessions(db: Kysely<AuthTables>, before: Date): Promise<void> {
  await db
    .deleteFrom('sessions')
    .where((row) => row.or([row('revoked_at', '<', before), row('expires_at', '<', before)]))
    .execute();
}
