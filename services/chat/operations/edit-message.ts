import type { Message } from '../../../shared/contracts/chat.ts';
import { Problem } from '../../../shared/errors.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { recordChange } from '../store/changes.ts';
import { type MessageRow, updateMessage, withReactions } from '../store/messages.ts';
import { keepVersion } from '../store/versions.ts';
import { readMentions } from './mentions.ts';
import { refuseBadEdit } from './posting-rules.ts';
import { messageInRoom, moderates, refuseArchived } from './room-access.ts';

/**
 * The author changes the text; what it said before is kept as a version. Throws `forbidden` for others, `conflict`
 * once the message is deleted, and what sending the new text would throw.
 */
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
    await refuseBadEdit(tx, tools, { roomId: room.id, body: input.body });

    await keepVersion(tx.db, row.id, row.body, row.edited_at ?? row.created_at);
    const [mentions] = await readMentions(tx.db, [{ roomId: room.id, body: input.body }]);
    const change = {
      body: input.body,
      mentions: mentions!.userIds,
      mentions_room: mentions!.room && moderates(tx, room),
      edited_at: new Date(),
    };
    await updateMessage(tx.db, row.id, change);
    const { changeSeq } = await recordChange(tx.db, room.id, row.id);
    const edited: MessageRow = { ...row, ...change, change_seq: changeSeq };
    const [message] = await withReactions(tx.db, [edited], tx.caller.userId);
    const { reactions: _, ...rest } = message!;
    const [forAll] = row.attachments.length > 0 ? await withReactions(tx.db, [edited], undefined) : [message];
    const same = forAll!.attachments.length === rest.attachments.length;
    tx.afterCommit(() => (same ? tools.live.edited(rest) : tools.live.changed(rest)));
    return message!;
  });
}
