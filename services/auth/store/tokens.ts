import type { Kysely } from 'kysely';
import type { AuthTables, OneTimePurpose } from './tables.ts';

export async function insertRefreshToken(
  db: Kysely<AuthTables>,
  digest: string,
  sessionId: string,
): Promise<void> {
  await db.insertInto('refresh_tokens').values({ digest, session_id: sessionId, used_at: null }).execute();
}

/** The token's row, locked, so that two refreshes with one token follow each other. */
export const lockRefreshToken = (
  db: Kysely<AuthTables>,
  digest: string,
): Promise<{ session_id: string; used_at: Date | null } | undefined> =>
  db
    .selectFrom('refresh_tokens')
    .select(['session_id', 'used_at'])
    .where('digest', '=', digest)
    .forUpdate()
    .executeTakeFirst();

export async function markRefreshTokenUsed(db: Kysely<AuthTables>, digest: string): Promise<void> {
  await db.updateTable('refresh_tokens').set({ used_at: new Date() }).where('digest', '=', digest).execute();
}

/** Only the newest token of a purpose works: older ones are dropped. */
export async function replaceOneTimeToken(
  db: Kysely<AuthTables>,
  token: { digest: string; userId: string; purpose: OneTimePurpose; expiresAt: Date },
): Promise<void> {
  await db
    .deleteFrom('one_time_tokens')
    .where('user_id', '=', token.userId)
    .where('purpose', '=', token.purpose)
    .execute();
  await db
    .insertInto('one_time_tokens')
    .values({
      digest: token.digest,
      user_id: token.userId,
      purpose: token.purpose,
      expires_at: token.expiresAt,
      used_at: null,
    })
    .execute();
}

/** Uses a token up. Returns whose it was, or undefined if it is unknown, used or run out. */
export async function useOneTimeToken(
  db: Kysely<AuthTables>,
  digest: string,
  purpose: OneTimePurpose,
): Promise<string | undefined> {
  const row = await db
    .updateTable('one_time_tokens')
    .set({ used_at: new Date() })
    .where('digest', '=', digest)
    .where('purpose', '=', purpose)
    .where('used_at', 'is', null)
    .where('expires_at', '>', new Date())
    .returning('user_id')
    .executeTakeFirst();
  return row?.user_id;
}
