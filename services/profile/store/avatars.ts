import { sql } from 'kysely';
import type { Executor } from '../../../shared/db/kernel.ts';
import type { ProfileTables } from './tables.ts';

type Db = Executor<ProfileTables>;

/** Says that objects of this avatar may be in the store from now on. */
export async function addPendingAvatar(db: Db, id: string, userId: string): Promise<void> {
  await db.insertInto('avatars').values({ id, user_id: userId, state: 'pending' }).execute();
}

/** Puts a written avatar to use. False if the sweep has taken it away meanwhile. */
export async function useAvatar(db: Db, id: string): Promise<boolean> {
  const result = await db
    .updateTable('avatars')
    .set({ state: 'current', changed_at: new Date() })
    .where('id', '=', id)
    .where('state', '=', 'pending')
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Marks every avatar of the user but `except` as to be removed. Returns their ids. */
export async function doomAvatars(db: Db, userId: string, except: string | null): Promise<string[]> {
  let query = db
    .updateTable('avatars')
    .set({ state: 'doomed', changed_at: new Date() })
    .where('user_id', '=', userId)
    .where('state', '=', 'current');
  if (except) query = query.where('id', '<>', except);
  return (await query.returning('id').execute()).map((row) => row.id);
}

export async function isCurrentAvatar(db: Db, id: string): Promise<boolean> {
  const row = await db.selectFrom('avatars').select('state').where('id', '=', id).executeTakeFirst();
  return row?.state === 'current';
}

/** Avatars whose objects should go: replaced ones at once, half-written ones after ten minutes. */
export async function claimAvatarsToRemove(db: Db, limit: number): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    update avatars set state = 'doomed' where id in (
      select id from avatars
      where state = 'doomed' or (state = 'pending' and changed_at < now() - interval '10 minutes')
      limit ${limit} for update skip locked)
    returning id`.execute(db);
  return rows.map((row) => row.id);
}

/** Forgets an avatar whose objects are gone. */
export async function forgetAvatar(db: Db, id: string): Promise<void> {
  await db.deleteFrom('avatars').where('id', '=', id).execute();
}
