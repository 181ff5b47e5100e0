import type { Message } from '../../../shared/contracts/chat.ts';
import { Problem } from '../../../shared/errors.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { recordChange } from '../store/changes.ts';
import { deleteReactions, type MessageRow, toMessage, updateMessage } from '../store/messages.ts';
import { recountReplies } from '../store/replies.ts';
import type { RoomRow } from '../store/rooms.ts';
import { deleteVersions } from '../store/versions.ts';
import { noteAudit } from './audit.ts';
import { messageFacts } from './new-message.ts';
import { messageInRoom, moderates } from './room-access.ts';

/**
 * Leaves a tombstone in a message's place: its number stays, its text, its earlier versions and its attachments go.
 * For its author and the room's moderators (the course's teacher, administrators); again, it is the same tombstone.
 */
export async function deleteMessage(
  context: ChatContext,
  tools: ChatTools,
  input: { messageId: string },
): Promise<Message> {
  return context.transaction(async (tx) => {
    const { message: row, room } = await messageInRoom(tx, input.messageId);
    if (row.author_id !== tx.caller.userId && !moderates(tx, room)) {
      throw new Problem('forbidden', 'Only its author or a moderator of the room may delete a message.');
    }
    return bury(tx, tools, row, room);
  });
}

/** Puts the tombstone in the place of a message, which is locked; who may is asked before. */
export async function bury(
  tx: ChatContext,
  tools: ChatTools,
  row: MessageRow,
  room: RoomRow,
): Promise<Message> {
  if (row.deleted_at) return toMessage(row, []);

  const change = {
    body: '',
    mentions: [],
    mentions_room: false,
    attachments: [],
    deleted_at: new Date(),
    pinned_at: null,
    pinned_by: null,
  };
  await updateMessage(tx.db, row.id, change);
  await deleteReactions(tx.db, row.id);
  await deleteVersions(tx.db, row.id);
  const { changeSeq } = await recordChange(tx.db, room.id, row.id);
  const tombstone = toMessage({ ...row, ...change, change_seq: changeSeq }, []);
  if (row.author_id !== tx.caller.userId) {
    await noteAudit(tx, room.id, 'message-deleted', { targetId: row.author_id, messageId: row.id });
  }
  await tx.publish('message.deleted', row.id, messageFacts(room, row));
  tx.afterCommit(() => tools.live.deleted(tombstone));
  await leaveThread(tx, tools, row);
  return tombstone;
}

/** A deleted reply no longer counts for the message it answered. */
async function leaveThread(tx: ChatContext, tools: ChatTools, reply: MessageRow): Promise<void> {
  const thread = reply.reply_to && (await recountReplies(tx.db, reply.reply_to));
  if (!thread) return;
  const number = await recordChange(tx.db, reply.room_id, thread.messageId);
  tx.afterCommit(() => tools.live.thread({ ...thread, ...number }));
}
