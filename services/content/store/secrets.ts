import type { Db } from './tables.ts';

/** The secret of this name; `made` is kept if there is none yet. Several processes may ask at once. */
export async function secret(db: Db, name: string, made: string): Promise<string> {
  await db
    .insertInto('secrets')
    .values({ name, value: made })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const row = await db
    .selectFrom('secrets')
    .select('value')
    .where('name', '=', name)
    .executeTakeFirstOrThrow();
  return row.value;
}
