import { type Kysely, type Selectable, sql } from 'kysely';
import type { ChatTables } from './tables.ts';

export type FilterWordRow = Selectable<ChatTables['filter_words']>;

/** The whole list, of the platform and of all rooms. */
export const allFilterWords = (
  db: Kysely<ChatTables>,
): Promise<Pick<FilterWordRow, 'room_id' | 'word' | 'action'>[]> =>
  db.selectFrom('filter_words').select(['room_id', 'word', 'action']).execute();

const within = (roomId: string | null) => sql<boolean>`room_id is not distinct from ${roomId}::uuid`;

/** Of a room, or with null of the platform, in the order of adding; one more than `limit` if there are more. */
export function listFilterWords(
  db: Kysely<ChatTables>,
  roomId: string | null,
  limit: number,
  after?: string,
): Promise<FilterWordRow[]> {
  let query = db.selectFrom('filter_words').selectAll().where(within(roomId));
  if (after) query = query.where('id', '>', after);
  return query
    .orderBy('id')
    .limit(limit + 1)
    .execute();
}

export async function countFilterWords(db: Kysely<ChatTables>, roomId: string | null): Promise<number> {
  const row = await db
    .selectFrom('filter_words')
    .where(within(roomId))
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  return Number(row.count);
}

/** A word that is there already gets the new action. */
export async function putFilterWord(db: Kysely<ChatTables>, word: FilterWordRow): Promise<FilterWordRow> {
  return db
    .insertInto('filter_words')
    .values(word)
    .onConflict((conflict) => conflict.columns(['room_id', 'word']).doUpdateSet({ action: word.action }))
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** The word, if there was one. */
export async function deleteFilterWord(
  db: Kysely<ChatTables>,
  id: string,
  roomId: string | null,
): Promise<string | undefined> {
  const row = await db
    .deleteFrom('filter_words')
    .where('id', '=', id)
    .where(within(roomId))
    .returning('word')
    .executeTakeFirst();
  return row?.word;
}
