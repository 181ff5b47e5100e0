import type { Message } from '../../../shared/contracts/chat.ts';
import type { HeldMessage } from '../../../shared/contracts/chat-moderation.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { deleteHeld, findHeld, type HeldRow, listHeld } from '../store/held-messages.ts';
import type { RoomRow } from '../store/rooms.ts';
import { lockRooms } from '../store/sending.ts';
import { noteAudit } from './audit.ts';
import { moderatedRoom, refuseArchived } from './room-access.ts';
import { postMessage } from './send-message.ts';

/** The messages that wait for a moderator, oldest first. For the room's moderators. */
export async function listHeldMessages(
  context: ChatContext,
  input: { roomId: string; limit: number; cursor?: string | undefined },
): Promise<Page<HeldMessage>> {
  const after = decodeCursor<[string]>(input.cursor, ['id'])?.[0];
  const room = await moderatedRoom(context, input.roomId);
  const rows = await listHeld(context.db, room.id, input.limit, after);
  return toPage(rows, input.limit, (row) => [row.id], toHeld);
}

/**
 * Lets a held message through: it is sent now, as its author's, under the author's client id. What it answered or
 * had attached may be gone: `validation-failed`, and it stays held. Throws `not-found` and `forbidden`.
 */
export async function approveHeld(context: ChatContext, tools: ChatTools, heldId: string): Promise<Message> {
  return context.transaction(async (tx) => {
    const { held, room } = await heldForModerator(tx, heldId);
    refuseArchived(room);
    await deleteHeld(tx.db, held.id);
    const { message } = await postMessage(tx, tools, {
      author: { id: held.author_id, name: held.author_name ?? '', role: 'learner', exempt: true },
      traceparent: tx.origin.traceparent,
      input: {
        roomId: held.room_id,
        clientId: held.client_id,
        body: held.body,
        replyTo: held.reply_to,
        attachments: held.attachments,
      },
    });
    await noteAudit(tx, held.room_id, 'held-approved', {
      targetId: held.author_id,
      messageId: message.id,
      details: { word: held.word },
    });
    return message;
  });
}

/** Throws a held message away. */
export async function rejectHeld(context: ChatContext, heldId: string): Promise<void> {
  await context.transaction(async (tx) => {
    const { held } = await heldForModerator(tx, heldId);
    await deleteHeld(tx.db, held.id);
    await noteAudit(tx, held.room_id, 'held-rejected', {
      targetId: held.author_id,
      details: { word: held.word },
    });
  });
}

async function heldForModerator(tx: ChatContext, heldId: string): Promise<{ held: HeldRow; room: RoomRow }> {
  const found = await findHeld(tx.db, heldId);
  if (!found) throw notFound('held message');
  const room = await moderatedRoom(tx, found.room_id).catch((error: unknown) => {
    throw error instanceof Problem && error.code === 'not-found' ? notFound('held message') : error;
  });
  // As in sending, the room first: two moderators decide one after the other, and a sender waits for neither for ever.
  await lockRooms(tx.db, [room.id]);
  const held = await findHeld(tx.db, heldId);
  if (!held) throw notFound('held message');
  return { held, room };
}

const toHeld = (row: HeldRow): HeldMessage => ({
  id: row.id,
  roomId: row.room_id,
  author: { id: row.author_id, displayName: row.author_name ?? '' },
  clientId: row.client_id,
  body: row.body,
  replyTo: row.reply_to,
  word: row.word,
  createdAt: row.created_at.toISOString(),
});
