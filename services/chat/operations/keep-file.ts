import type { MessageChange } from '../../../shared/contracts/chat.ts';
import type { ChatContext } from '../context.ts';
import { recordChanges } from '../store/changes.ts';
import { keepFile as keepFacts } from '../store/files.ts';
import { messagesWith } from '../store/messages.ts';
import { lockRooms } from '../store/sending.ts';
import type { FileFacts } from './attachments.ts';

/**
 * Takes in what content says of a file. Messages that have one attached which is of no use any more (deleted, rejected)
 * have changed by that: returns the changes to tell.
 */
export async function keepFile(tx: ChatContext, facts: FileFacts): Promise<MessageChange[]> {
  await keepFacts(tx.db, facts);
  if (facts.usable) return [];
  const attached = await messagesWith(tx.db, facts.file_id);
  await lockRooms(
    tx.db,
    attached.map(({ roomId }) => roomId),
  );
  const numbers = await recordChanges(tx.db, attached);
  return attached.map(({ roomId, messageId }) => ({ roomId, ...numbers.get(messageId)! }));
}
