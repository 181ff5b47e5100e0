import { type Kysely, sql } from 'kysely';
import type { ThreadChange } from '../../../shared/contracts/chat.ts';
import { type MessageRow, messageRows } from './messages.ts';
import type { ChatTables } from './tables.ts';

/** Replies to a message in the order of `seq`; one more than `limit` if there are more. */
export function listReplies(
  db: Kysely<ChatTables>,
  messageId: string,
  limit: number,
  afterSeq: number,
): Promise<MessageRow[]> {
  return messageRows(db)
    .where('x.reply_to', '=', messageId)
    .where('x.seq', '>', afterSeq)
    .orderBy('x.seq')
    .limit(limit + 1)
    .execute();
}

/** A change to a message that has no number yet. */
type ThreadCount = Omit<ThreadChange, 'seq' | 'changeSeq'>;

/** Counts new replies: `parents` has the message replied to, once for each reply. */
export async function countReplies(
  db: Kysely<ChatTables>,
  parents: string[],
  at: Date,
): Promise<ThreadCount[]> {
  if (parents.length === 0) return [];
  const { rows } = await sql<ThreadRow>`
    update messages p set reply_count = p.reply_count + n.count, last_reply_at = ${at}
    from (select id, count(*)::int as count from unnest(${parents}::uuid[]) as id group by id) n
    where p.id = n.id
    returning p.room_id, p.id, p.reply_count, p.last_reply_at`.execute(db);
  return rows.map(toThread);
}

/** A reply was deleted: counts those of its parent again. */
export async function recountReplies(
  db: Kysely<ChatTables>,
  parentId: string,
): Promise<ThreadCount | undefined> {
  const { rows } = await sql<ThreadRow>`
    update messages p set reply_count = n.count, last_reply_at = n.last
    from (select count(*)::int as count, max(created_at) as last from messages
      where reply_to = ${parentId} and deleted_at is null) n
    where p.id = ${parentId}
    returning p.room_id, p.id, p.reply_count, p.last_reply_at`.execute(db);
  return rows[0] && toThread(rows[0]);
}

interface ThreadRow {
  room_id: string;
  id: string;
  reply_count: number;
  last_reply_at: Date | null;
}

const toThread = (row: ThreadRow): ThreadCount => ({
  roomId: row.room_id,
  messageId: row.id,
  replyCount: row.reply_count,
  lastReplyAt: row.last_reply_at?.toISOString() ?? null,
});
