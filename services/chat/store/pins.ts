import { type Kysely, sql } from 'kysely';
import { type MessageRow, messageRows } from './messages.ts';
import type { ChatTables } from './tables.ts';

/** Pinned messages, pinned last first; one more than `limit` if there are more. */
export function listPinned(
  db: Kysely<ChatTables>,
  roomId: string,
  limit: number,
  after?: [pinnedAt: string, id: string],
): Promise<MessageRow[]> {
  let query = messageRows(db).where('x.room_id', '=', roomId).where('x.pinned_at', 'is not', null);
  if (after) {
    query = query.where(sql<boolean>`(x.pinned_at, x.id) < (${after[0]}::timestamptz, ${after[1]}::uuid)`);
  }
  return query
    .orderBy('x.pinned_at', 'desc')
    .orderBy('x.id', 'desc')
    .limit(limit + 1)
    .execute();
}

export async function countPinned(db: Kysely<ChatTables>, roomId: string): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from messages where room_id = ${roomId} and pinned_at is not null`.execute(
    db,
  );
  return rows[0]?.count ?? 0;
}

/** `pin` null takes the pin away. */
export async function setPinned(
  db: Kysely<ChatTables>,
  messageId: string,
  pin: { at: Date; by: string } | null,
): Promise<void> {
  await db
    .updateTable('messages')
    .set({ pinned_at: pin?.at ?? null, pinned_by: pin?.by ?? null })
    .where('id', '=', messageId)
    .execute();
}
