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
  after?: [createdAt: string, id: string] | undefined;
}

/** Messages that fit, newest first; one more than `limit` if there are more. Deleted ones have no text to find. */
export function searchMessages(db: Kysely<ChatTables>, filter: SearchFilter): Promise<MessageRow[]> {
  let query = messageRows(db)
    .where(sql<boolean>`to_tsvector('simple', x.body) @@ websearch_to_tsquery('simple', ${filter.words})`)
    .where('x.deleted_at', 'is', null);
  query =
    filter.roomId === undefined
      ? query.where('x.room_id', 'in', (eb) =>
          eb.selectFrom('members as own').select('own.room_id').where('own.user_id', '=', filter.viewerId),
        )
      : query.where('x.room_id', '=', filter.roomId);
  if (filter.authorId) query = query.where('x.author_id', '=', filter.authorId);
  if (filter.from) query = query.where(sql<boolean>`x.created_at >= ${filter.from}::timestamptz`);
  if (filter.to) query = query.where(sql<boolean>`x.created_at < ${filter.to}::timestamptz`);
  if (filter.after) {
    const [at, id] = filter.after;
    query = query.where(sql<boolean>`(x.created_at, x.id) < (${at}::timestamptz, ${id}::uuid)`);
  }
  return query
    .orderBy('x.created_at', 'desc')
    .orderBy('x.id', 'desc')
    .limit(filter.limit + 1)
    .execute();
}
