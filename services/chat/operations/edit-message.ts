import type { Message } from '../../../shared/contracts/chat.ts';
import { Problem } from '../../../shared/errors.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { type MessageRow, updateMessage, withReactions } from '../store/messages.ts';
import { readMentions } from './mentions.ts';
import { messageInRoom, refuseArchived } from './room-access.ts';

/** The author changes the text. Throws `forbidden` for others and `conflict` once the message is deleted. */
export async function editMessage(
  context: ChatContext,
  tools: ChatTools,
  input: { messageId: string; body: string },
): Promise<Message> {
  return context.transaction(async (tx) => {
    const { message: row, room } = await messageInRoom(tx, input.messageId);
    if (row.author_id !== tx.caller.userId || room.my_role === null) {
      throw new Problem('forbidden', 'Only its author may change a message.');
    }
    refuseArchived(room);
    if (row.deleted_at) throw new Problem('conflict', 'The message is deleted.');

    const mentions = await readMentions(tx.db, room.id, input.body);
    const change = { body: input.body, mentions: mentions.userIds, edited_at: new Date() };
    await updateMessage(tx.db, row.id, change);
    const edited: MessageRow = { ...row, ...change };
    const [message] = await withReactions(tx.db, [edited], tx.caller.userId);
    const { reactions: _, ...rest } = message!;
    tx.afterCommit(() => tools.live.edited(rest));
    return message!;
  });
}
