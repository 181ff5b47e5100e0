import { type Kysely, type Selectable, sql } from 'kysely';
import type { Message, Reaction } from '../../../shared/contracts/chat.ts';
import { visibleFiles } from './files.ts';
import type { ChatTables, MessagesTable } from './tables.ts';

export type MessageRow = Selectable<MessagesTable> & {
  author_name: string | null;
  author_bot: boolean | null;
};

export const messageRows = (db: Kysely<ChatTables>) =>
  db
    .selectFrom('messages as x')
    .leftJoin('people as p', 'p.user_id', 'x.author_id')
    .selectAll('x')
    .select(['p.display_name as author_name', 'p.bot as author_bot']);

export const findMessage = (db: Kysely<ChatTables>, id: string): Promise<MessageRow | undefined> =>
  messageRows(db).where('x.id', '=', id).executeTakeFirst();

export const findMessages = (db: Kysely<ChatTables>, ids: string[]): Promise<MessageRow[]> =>
  ids.length === 0 ? Promise.resolve([]) : messageRows(db).where('x.id', 'in', ids).execute();

/** The messages that a file is attached to. */
export const messagesWith = (
  db: Kysely<ChatTables>,
  fileId: string,
): Promise<{ roomId: string; messageId: string }[]> =>
  db
    .selectFrom('messages')
    .select(['room_id as roomId', 'id as messageId'])
    .where(sql<boolean>`attachments @> ${[{ fileId }]}::jsonb`)
    // Says what the index on attachments says, so that it is used.
    .where(sql<boolean>`attachments <> '[]'::jsonb`)
    .execute();

export interface Window {
  before?: number | undefined;
  after?: number | undefined;
  limit: number;
}

/** Up to `limit` messages in the order of `seq`: those right before, right after, or the newest. */
export async function messagesIn(
  db: Kysely<ChatTables>,
  roomId: string,
  window: Window,
): Promise<MessageRow[]> {
  let query = messageRows(db).where('x.room_id', '=', roomId).limit(window.limit);
  if (window.after !== undefined) return query.where('x.seq', '>', window.after).orderBy('x.seq').execute();
  if (window.before !== undefined) query = query.where('x.seq', '<', window.before);
  return (await query.orderBy('x.seq', 'desc').execute()).reverse();
}

export async function updateMessage(
  db: Kysely<ChatTables>,
  id: string,
  change: Partial<
    Pick<
      MessageRow,
      | 'body'
      | 'mentions'
      | 'mentions_room'
      | 'attachments'
      | 'edited_at'
      | 'deleted_at'
      | 'pinned_at'
      | 'pinned_by'
    >
  >,
): Promise<void> {
  await db.updateTable('messages').set(change).where('id', '=', id).execute();
}

/** The reactions of many messages in one query, oldest first; `mine` as `viewerId` sees it. */
export async function reactionsTo(
  db: Kysely<ChatTables>,
  messageIds: string[],
  viewerId: string | undefined,
): Promise<Map<string, Reaction[]>> {
  const found = new Map<string, Reaction[]>();
  if (messageIds.length === 0) return found;
  const rows = await db
    .selectFrom('reactions')
    .where('message_id', 'in', messageIds)
    .groupBy(['message_id', 'emoji'])
    .orderBy((eb) => eb.fn.min('created_at'))
    .orderBy('emoji')
    .select((eb) => ['message_id', 'emoji', eb.fn.countAll<number>().as('count')])
    .select(sql<boolean | null>`bool_or(user_id = ${viewerId ?? null}::uuid)`.as('mine'))
    .execute();
  for (const { message_id, emoji, count, mine } of rows) {
    const list = found.get(message_id) ?? [];
    found.set(message_id, list);
    list.push({ emoji, count: Number(count), mine: mine === true });
  }
  return found;
}

/** True if it was not there before. */
export async function insertReaction(
  db: Kysely<ChatTables>,
  reaction: { messageId: string; emoji: string; userId: string; at: Date },
): Promise<boolean> {
  const result = await db
    .insertInto('reactions')
    .values({
      message_id: reaction.messageId,
      emoji: reaction.emoji,
      user_id: reaction.userId,
      created_at: reaction.at,
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return Number(result.numInsertedOrUpdatedRows ?? 0) > 0;
}

/** True if it was there. */
export async function deleteReaction(
  db: Kysely<ChatTables>,
  reaction: { messageId: string; emoji: string; userId: string },
): Promise<boolean> {
  const result = await db
    .deleteFrom('reactions')
    .where('message_id', '=', reaction.messageId)
    .where('emoji', '=', reaction.emoji)
    .where('user_id', '=', reaction.userId)
    .executeTakeFirst();
  return result.numDeletedRows > 0n;
}

export async function deleteReactions(db: Kysely<ChatTables>, messageId: string): Promise<void> {
  await db.deleteFrom('reactions').where('message_id', '=', messageId).execute();
}

/**
 * Messages with their reactions, and with those of their attachments that `viewerId` may see: two queries for any
 * number of them, three where something is attached.
 */
export async function withReactions(
  db: Kysely<ChatTables>,
  rows: MessageRow[],
  viewerId: string | undefined,
): Promise<Message[]> {
  const reactions = await reactionsTo(
    db,
    rows.map((row) => row.id),
    viewerId,
  );
  const attached = rows.flatMap((row) =>
    row.attachments.map(({ fileId }) => ({ fileId, roomId: row.room_id })),
  );
  const visible = await visibleFiles(db, attached, viewerId);
  return rows.map((row) => {
    const attachments = row.attachments.filter(({ fileId }) => visible.has(`${row.room_id} ${fileId}`));
    return toMessage({ ...row, attachments }, reactions.get(row.id) ?? []);
  });
}

/** The row as the contract shows it. */
export const toMessage = (row: MessageRow, reactions: Reaction[]): Message => ({
  id: row.id,
  roomId: row.room_id,
  seq: row.seq,
  clientId: row.client_id,
  author: {
    id: row.author_id,
    displayName: row.author_name ?? '',
    ...(row.author_bot ? { bot: true } : {}),
  },
  body: row.body,
  mentions: row.mentions,
  mentionsRoom: row.mentions_room,
  replyTo: row.reply_to,
  replyCount: row.reply_count,
  lastReplyAt: row.last_reply_at?.toISOString() ?? null,
  attachments: row.attachments,
  reactions,
  createdAt: row.created_at.toISOString(),
  editedAt: row.edited_at?.toISOString() ?? null,
  deletedAt: row.deleted_at?.toISOString() ?? null,
  pinnedAt: row.pinned_at?.toISOString() ?? null,
  changeSeq: row.change_seq,
});
