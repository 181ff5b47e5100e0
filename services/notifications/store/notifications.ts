import { type Insertable, type Selectable, sql } from 'kysely';
import type { Executor } from '../../../shared/db/kernel.ts';
import type { NotificationsTables } from './tables.ts';

type Db = Executor<NotificationsTables>;

export type NotificationRow = Selectable<NotificationsTables['notifications']>;

export async function addNotification(
  db: Db,
  row: Omit<Insertable<NotificationsTables['notifications']>, 'read_at'>,
): Promise<void> {
  await db
    .insertInto('notifications')
    .values({ ...row, read_at: null })
    .execute();
}

/** Newest first, below the id `before`; one row more than `limit` if there are more. */
export async function listNotifications(
  db: Db,
  userId: string,
  options: { unread: boolean; before: string | undefined; limit: number },
): Promise<NotificationRow[]> {
  let query = db
    .selectFrom('notifications')
    .selectAll()
    .where('user_id', '=', userId)
    .where('in_app', '=', true)
    .orderBy('id', 'desc')
    .limit(options.limit + 1);
  if (options.unread) query = query.where('read_at', 'is', null);
  if (options.before) query = query.where('id', '<', options.before);
  return query.execute();
}

export async function countUnread(db: Db, userId: string): Promise<number> {
  const row = await db
    .selectFrom('notifications')
    .select((is) => is.fn.countAll<number>().as('count'))
    .where('user_id', '=', userId)
    .where('in_app', '=', true)
    .where('read_at', 'is', null)
    .executeTakeFirstOrThrow();
  return Number(row.count);
}

/** True if the user has this notification in the list; when it was read first is kept. */
export async function markRead(db: Db, userId: string, id: string): Promise<boolean> {
  const result = await db
    .updateTable('notifications')
    .set({ read_at: sql<Date>`coalesce(read_at, now())` })
    .where('id', '=', id)
    .where('user_id', '=', userId)
    .where('in_app', '=', true)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

export async function markAllRead(db: Db, userId: string): Promise<void> {
  await db
    .updateTable('notifications')
    .set({ read_at: sql<Date>`now()` })
    .where('user_id', '=', userId)
    .where('in_app', '=', true)
    .where('read_at', 'is', null)
    .execute();
}

export async function findRecipient(db: Db, notificationId: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('notifications')
    .select('user_id')
    .where('id', '=', notificationId)
    .executeTakeFirst();
  return row?.user_id;
}

/** Removes all notifications of a user. */
export async function removeNotifications(db: Db, userId: string): Promise<void> {
  await db.deleteFrom('notifications').where('user_id', '=', userId).execute();
}

/** Removes notifications older than a year. */
export async function removeOldNotifications(db: Db): Promise<void> {
  await sql`delete from notifications where created_at < now() - interval '1 year'`.execute(db);
}
