import { DEFAULT_CHANNELS, type NotificationPreferences } from '../../../shared/contracts/notifications.ts';
import type { Executor } from '../../../shared/db/kernel.ts';
import type { NotificationsTables } from './tables.ts';

type Db = Executor<NotificationsTables>;

/** The channels of each of these users, with defaults for what they never chose. */
export async function findPreferences(
  db: Db,
  userIds: string[],
): Promise<Map<string, NotificationPreferences>> {
  const rows =
    userIds.length === 0
      ? []
      : await db.selectFrom('preferences').selectAll().where('user_id', 'in', userIds).execute();
  const chosen = new Map(rows.map((row) => [row.user_id, row.choices]));
  return new Map(userIds.map((userId) => [userId, { ...DEFAULT_CHANNELS, ...chosen.get(userId) }]));
}

/** One user's channels, held until the transaction ends, so that two changes at once keep each other's kinds. */
export async function lockPreferences(db: Db, userId: string): Promise<NotificationPreferences> {
  await db
    .insertInto('preferences')
    .values({ user_id: userId, choices: {} })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const row = await db
    .selectFrom('preferences')
    .select('choices')
    .where('user_id', '=', userId)
    .forUpdate()
    .executeTakeFirstOrThrow();
  return { ...DEFAULT_CHANNELS, ...row.choices };
}

export async function savePreferences(
  db: Db,
  userId: string,
  choices: NotificationPreferences,
): Promise<void> {
  await db.updateTable('preferences').set({ choices }).where('user_id', '=', userId).execute();
}

export async function removePreferences(db: Db, userId: string): Promise<void> {
  await db.deleteFrom('preferences').where('user_id', '=', userId).execute();
}
