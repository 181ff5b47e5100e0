import type { Reaction } from '../../../shared/contracts/chat.ts';
import { Problem } from '../../../shared/errors.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { recordChange } from '../store/changes.ts';
import { deleteReaction, insertReaction, reactionsTo } from '../store/messages.ts';
import { refuseSilenced } from './posting-rules.ts';
import { messageInRoom, refuseArchived } from './room-access.ts';

const DIFFERENT_EMOJI = 30;

/** Adds or takes back the caller's reaction; saying it twice changes nothing. Returns all of the message's. */
export async function changeReaction(
  context: ChatContext,
  tools: ChatTools,
  input: { messageId: string; emoji: string; added: boolean },
): Promise<{ reactions: Reaction[] }> {
  return context.transaction(async (tx) => {
    const { message, room } = await messageInRoom(tx, input.messageId);
    if (room.my_role === null) throw new Problem('forbidden', 'Only members of the room may do this.');
    refuseArchived(room);
    await refuseSilenced(tx, room.id);
    if (message.deleted_at) throw new Problem('conflict', 'The message is deleted.');

    const { userId } = tx.caller;
    const reaction = { messageId: message.id, emoji: input.emoji, userId, at: new Date() };
    const changed = await (input.added ? insertReaction(tx.db, reaction) : deleteReaction(tx.db, reaction));
    const reactions = (await reactionsTo(tx.db, [message.id], userId)).get(message.id) ?? [];
    if (reactions.length > DIFFERENT_EMOJI)
      throw new Problem('conflict', 'The message has enough different reactions.');
    if (changed) {
      const number = await recordChange(tx.db, room.id, message.id);
      tx.afterCommit(() =>
        tools.live.reaction({
          roomId: room.id,
          messageId: message.id,
          emoji: input.emoji,
          userId,
          added: input.added,
          reactions: reactions.map(({ emoji, count }) => ({ emoji, count })),
          ...number,
        }),
      );
    }
    return { reactions };
  });
}
