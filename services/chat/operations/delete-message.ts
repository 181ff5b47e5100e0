import type { Message } from '../../../shared/contracts/chat.ts';
import { Problem } from '../../../shared/errors.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { deleteReactions, toMessage, updateMessage } from '../store/messages.ts';
import { messageInRoom } from './room-access.ts';
import { messageFacts } from './send-message.ts';

/**
 * Leaves a tombstone in a message's place: its number stays, its text and attachments go. For its author, the
 * room's owner (the course's teacher) and administrators; again, it is the same tombstone.
 */
export async function deleteMessage(
  context: ChatContext,
  tools: ChatTools,
  input: { messageId: string },
): Promise<Message> {
  return context.transaction(async (tx) => {
    const { message: row, room } = await messageInRoom(tx, input.messageId);
    const { caller } = tx;
    const mayModerate = room.my_role === 'owner' || (caller.role === 'admin' && room.kind === 'course');
    if (row.author_id !== caller.userId && !mayModerate) {
      throw new Problem(
        'forbidden',
        "Only its author, the room's owner or an administrator may delete a message.",
      );
    }
    if (row.deleted_at) return toMessage(row, []);

    const change = { body: '', mentions: [], attachments: [], deleted_at: new Date() };
    await updateMessage(tx.db, row.id, change);
    await deleteReactions(tx.db, row.id);
    const tombstone = toMessage({ ...row, ...change }, []);
    await tx.publish('message.deleted', row.id, messageFacts(room, row));
    tx.afterCommit(() => tools.live.deleted(tombstone));
    return tombstone;
  });
}
