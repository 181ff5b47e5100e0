import { type Kysely, sql } from 'kysely';
import { type MessageRow, messageRows } from './messages.ts';
import type { ChatTables } from './tables.ts';

export interface SearchFilter {
  words: string;
  /** One room, which the caller may read. Without it: every room that `viewerId` is a member of. */
  roomId?: string | undefined;
  viewerId: string;
  authorId?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
  limit: number;
  /** Of the last message of the page before. */
  after?: [seq: number, id: string] | undefined;
}

const LONGEST_MS = 4_000;

/** What PostgreSQL says when a statement has taken longer than it may. */
export const isSearchTooLong = (error: unknown): boolean => (error as { code?: unknown }).code === '57014';

/**
 * Messages that fit, newest first; one more than `limit` if there are more. Deleted ones have no text to find. Throws
 * what `isSearchTooLong` knows.
 *
 * The order is one that an index has, so that of a word which everybody uses the newest are read and no others; words
 * that few use are looked up. Which is better depends on the word, so no plan is kept for the next one.
 */
export async function searchMessages(tx: Kysely<ChatTables>, filter: SearchFilter): Promise<MessageRow[]> {
  await sql`select set_config('statement_timeout', ${String(LONGEST_MS)}, true),
    set_config('plan_cache_mode', 'force_custom_plan', true)`.execute(tx);
  const { roomId, after } = filter;
  let query = messageRows(tx)
    .where(sql<boolean>`to_tsvector('simple', x.body) @@ websearch_to_tsquery('simple', ${filter.words})`)
    .where('x.deleted_at', 'is', null);
  if (filter.authorId) query = query.where('x.author_id', '=', filter.authorId);
  if (filter.from) query = query.where(sql<boolean>`x.created_at >= ${filter.from}::timestamptz`);
  if (filter.to) query = query.where(sql<boolean>`x.created_at < ${filter.to}::timestamptz`);
  if (roomId !== undefined) {
    query = query.where('x.room_id', '=', roomId).orderBy('x.seq', 'desc');
    if (after) query = query.where('x.seq', '<', after[0]);
  } else {
    query = query
      .where('x.room_id', 'in', (eb) =>
        eb.selectFrom('members as own').select('own.room_id').where('own.user_id', '=', filter.viewerId),
      )
      // UUIDv7: in the order of making.
      .orderBy('x.id', 'desc');
    if (after) query = query.where('x.id', '<', after[1]);
  }
  return query.limit(filter.limit + 1).execute();
}

/**
 * Merges the words of new messages into the index for search. They wait in a list, and the message that fills it up
 * would have to merge them all. https://www.postgresql.org/docs/current/gin.html#GIN-FAST-UPDATE
 */
export async function mergeNewWords(db: Kysely<ChatTables>): Promise<void> {
  await sql`select gin_clean_pending_list('messages_words'::regclass)`.execute(db);
}
