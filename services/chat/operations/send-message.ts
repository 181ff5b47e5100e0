import type { Message, NewMessage } from '../../../shared/contracts/chat.ts';
import { Problem } from '../../../shared/errors.ts';
import { newId } from '../../../shared/ids.ts';
import type { TokenDecision } from '../../../shared/ports/ephemeral-store.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import {
  findMessage,
  findSent,
  insertMessage,
  type MessageRow,
  toMessage,
  withReactions,
} from '../store/messages.ts';
import { giveSeqBack, type RoomRow, takeSeq } from '../store/rooms.ts';
import { readAttachments } from './attachments.ts';
import { type Mentions, readMentions } from './mentions.ts';
import { callerName, memberRoom, refuseArchived } from './room-access.ts';

/** Messages of one person to one room: a burst, then so many a second. */
const SEND_BURST = 100;
const SEND_PER_SECOND = 20;

/**
 * Says something in a room. The message gets the room's next number in the transaction, so numbers have no
 * gaps; the same `clientId` again gives the first result (`created: false`). Throws `not-found`, `forbidden`,
 * `conflict` (archived), `rate-limited`, or `validation-failed` (attachments, replyTo).
 */
export async function sendMessage(
  context: ChatContext,
  tools: ChatTools,
  input: NewMessage & { roomId: string },
): Promise<{ message: Message; created: boolean }> {
  await limitSending(context, tools, input.roomId);
  return context.transaction(async (tx) => {
    const room = await memberRoom(tx, input.roomId);
    const { userId } = tx.caller;
    const first = await findSent(tx.db, room.id, userId, input.clientId);
    if (first) return { message: await viewed(tx, first), created: false };

    refuseArchived(room);
    const author = await callerName(tx, room);
    const attachments = await readAttachments(tx, room, input.attachments ?? []);
    const replyTo = await checkedReply(tx, room, input.replyTo ?? null);
    const mentions = await readMentions(tx.db, room.id, input.body);
    const now = new Date();
    const row: MessageRow = {
      id: newId(),
      room_id: room.id,
      seq: await takeSeq(tx.db, room.id, now),
      client_id: input.clientId,
      author_id: userId,
      author_name: author,
      body: input.body,
      mentions: mentions.userIds,
      reply_to: replyTo,
      attachments,
      created_at: now,
      edited_at: null,
      deleted_at: null,
    };
    const { author_name: _, ...columns } = row;
    if (!(await insertMessage(tx.db, columns))) {
      // A twin with the same client id was faster; it has committed, for the room's row was locked until now.
      await giveSeqBack(tx.db, room.id);
      const twin = await findSent(tx.db, room.id, userId, input.clientId);
      return { message: await viewed(tx, twin!), created: false };
    }
    await publish(tx, room, row, mentions);
    const message = toMessage(row, []);
    tx.afterCommit(() => tools.live.message(message));
    return { message, created: true };
  });
}

async function publish(tx: ChatContext, room: RoomRow, row: MessageRow, mentions: Mentions): Promise<void> {
  const facts = { ...messageFacts(room, row), excerpt: mentions.excerpt };
  await tx.publish('message.sent', row.id, facts);
  const mentioned = mentions.userIds.filter((userId) => userId !== row.author_id);
  if (mentioned.length > 0) await tx.publish('message.mentioned', row.id, { ...facts, mentioned });
}

/** What events say about a message. To its receiver a direct room is called after the author. */
export const messageFacts = (room: RoomRow, row: MessageRow) => ({
  messageId: row.id,
  roomId: room.id,
  roomName: room.kind === 'direct' ? (row.author_name ?? '') : room.name,
  courseId: room.course_id,
  seq: row.seq,
  authorId: row.author_id,
  authorName: row.author_name ?? '',
});

const viewed = async (tx: ChatContext, row: MessageRow): Promise<Message> =>
  (await withReactions(tx.db, [row], tx.caller.userId))[0]!;

async function checkedReply(tx: ChatContext, room: RoomRow, replyTo: string | null): Promise<string | null> {
  if (replyTo === null) return null;
  const original = await findMessage(tx.db, replyTo);
  if (original?.room_id === room.id) return original.id;
  throw new Problem('validation-failed', 'The message replied to is not in this room.', {
    errors: [{ path: 'body.replyTo', message: 'no such message in this room' }],
  });
}

/** Throws `rate-limited`. While the store is away nobody is limited: talking matters more. */
async function limitSending(context: ChatContext, tools: ChatTools, roomId: string): Promise<void> {
  const decision = await tools.ephemeral
    .takeTokens(`chat:send:${context.caller.userId}:${roomId}`, {
      capacity: SEND_BURST * tools.limitScale,
      perSecond: SEND_PER_SECOND * tools.limitScale,
    })
    .catch((): TokenDecision => ({ allowed: true, remaining: 0, resetMs: 0 }));
  if (decision.allowed) return;
  throw new Problem('rate-limited', 'You are sending too fast. Wait a moment.', {
    retryAfter: decision.resetMs / 1000,
    headers: {
      'ratelimit-limit': String(SEND_BURST * tools.limitScale),
      'ratelimit-remaining': String(decision.remaining),
      'ratelimit-reset': String(Math.ceil(decision.resetMs / 1000)),
    },
  });
}
