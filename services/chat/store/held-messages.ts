import type { Kysely, Selectable } from 'kysely';
import type { ChatTables } from './tables.ts';

export type HeldRow = Selectable<ChatTables['held_messages']> & { author_name: string | null };

const heldRows = (db: Kysely<ChatTables>) =>
  db
    .selectFrom('held_messages as h')
    .leftJoin('people as p', 'p.user_id', 'h.author_id')
    .selectAll('h')
    .select('p.display_name as author_name');

/** Sent again under the same client id, the first stays. */
export async function holdMessages(
  db: Kysely<ChatTables>,
  messages: Selectable<ChatTables['held_messages']>[],
): Promise<void> {
  if (messages.length === 0) return;
  await db
    .insertInto('held_messages')
    .values(messages)
    .onConflict((conflict) => conflict.columns(['room_id', 'author_id', 'client_id']).doNothing())
    .execute();
}

/** Oldest first; one more than `limit` if there are more. */
export function listHeld(
  db: Kysely<ChatTables>,
  roomId: string,
  limit: number,
  after?: string,
): Promise<HeldRow[]> {
  let query = heldRows(db).where('h.room_id', '=', roomId);
  if (after) query = query.where('h.id', '>', after);
  return query
    .orderBy('h.id')
    .limit(limit + 1)
    .execute();
}

export const findHeld = (db: Kysely<ChatTables>, id: string): Promise<HeldRow | undefined> =>
  heldRows(db).where('h.id', '=', id).executeTakeFirst();

export async function deleteHeld(db: Kysely<ChatTables>, id: string): Promise<void> {
  await db.deleteFrom('held_messages').where('id', '=', id).execute();
}
