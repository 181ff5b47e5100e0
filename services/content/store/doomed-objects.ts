import { sql } from 'kysely';
import type { Db } from './tables.ts';

/**
 * Objects that are to be removed from the object store. A key stands here from before it can be an orphan until
 * it is known not to be one, so that a process may die at any moment.
 */

/** Writes keys down before their objects are made: they go after `seconds`, unless `reprieve` takes them back. */
export async function doomLater(db: Db, keys: string[], seconds: number): Promise<void> {
  if (keys.length === 0) return;
  await db
    .insertInto('doomed_objects')
    .values(keys.map((key) => ({ object_key: key, due_at: new Date(Date.now() + seconds * 1000) })))
    .execute();
}

/** Objects that nothing refers to once this transaction commits. */
export async function doomNow(db: Db, keys: string[]): Promise<void> {
  if (keys.length === 0) return;
  await db
    .insertInto('doomed_objects')
    .values(keys.map((key) => ({ object_key: key, due_at: new Date(0), claimed: true })))
    .onConflict((conflict) =>
      conflict.column('object_key').doUpdateSet({ due_at: new Date(0), claimed: true }),
    )
    .execute();
}

/** Keeps objects after all, in the transaction that refers to them. False if one is being removed already. */
export async function reprieve(db: Db, keys: string[]): Promise<boolean> {
  if (keys.length === 0) return true;
  const result = await db
    .deleteFrom('doomed_objects')
    .where('object_key', 'in', keys)
    .where('claimed', '=', false)
    .executeTakeFirst();
  return Number(result.numDeletedRows) === keys.length;
}

/** Takes up to `limit` keys that are due; they come due again in a minute in case this process dies. */
export async function claimDoomed(db: Db, limit: number): Promise<string[]> {
  const { rows } = await sql<{ object_key: string }>`
    update doomed_objects set claimed = true, due_at = now() + interval '1 minute'
    where object_key in (
      select object_key from doomed_objects where due_at < now() order by due_at limit ${limit}::int for update skip locked)
    returning object_key`.execute(db);
  return rows.map((row) => row.object_key);
}

export async function forgetDoomed(db: Db, key: string): Promise<void> {
  await db.deleteFrom('doomed_objects').where('object_key', '=', key).execute();
}
