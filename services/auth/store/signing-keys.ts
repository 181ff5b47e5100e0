import { type Kysely, sql } from 'kysely';
import type { AuthTables } from './tables.ts';

export interface SigningKeyRow {
  kid: string;
  private_jwk: unknown;
  public_jwk: unknown;
  active_from: Date;
}

/** Newest first. */
export const allKeys = (db: Kysely<AuthTables>): Promise<SigningKeyRow[]> =>
  db
    .selectFrom('signing_keys')
    .select(['kid', 'private_jwk', 'public_jwk', 'active_from'])
    .orderBy('active_from', 'desc')
    .execute();

export async function insertKey(db: Kysely<AuthTables>, key: SigningKeyRow): Promise<void> {
  await db.insertInto('signing_keys').values(key).execute();
}

export async function deleteKeys(db: Kysely<AuthTables>, kids: string[]): Promise<void> {
  if (kids.length > 0) await db.deleteFrom('signing_keys').where('kid', 'in', kids).execute();
}

/** One process at a time makes or rotates keys; held until the transaction ends. */
export async function lockKeys(tx: Kysely<AuthTables>): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtext('lyceum-signing-keys'))`.execute(tx);
}
