import type { FilterAction, FilterWord } from '../../../shared/contracts/chat-moderation.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import { newId } from '../../../shared/ids.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import {
  countFilterWords,
  deleteFilterWord,
  type FilterWordRow,
  listFilterWords,
  putFilterWord,
} from '../store/filter-words.ts';
import { noteAudit } from './audit.ts';
import { moderatedRoom } from './room-access.ts';

const MOST_IN_A_ROOM = 500;
const MOST_ON_THE_PLATFORM = 5_000;

/** `roomId` undefined: the platform's list, which the door shows to administrators only. */
interface ListInput {
  roomId?: string | undefined;
}

/** The words that are filtered in a room, or everywhere, in the order of adding. For moderators. */
export async function listWords(
  context: ChatContext,
  input: ListInput & { limit: number; cursor?: string | undefined },
): Promise<Page<FilterWord>> {
  const after = decodeCursor<[string]>(input.cursor, ['id'])?.[0];
  const roomId = await listOf(context, input);
  const rows = await listFilterWords(context.db, roomId, input.limit, after);
  return toPage(rows, input.limit, (row) => [row.id], toFilterWord);
}

/** Filters a word from now on; one that is there already gets the new action. Every process knows within a second. */
export async function addWord(
  context: ChatContext,
  tools: ChatTools,
  input: ListInput & { word: string; action: FilterAction },
): Promise<FilterWord> {
  return context.transaction(async (tx) => {
    const roomId = await listOf(tx, input);
    const most = roomId === null ? MOST_ON_THE_PLATFORM : MOST_IN_A_ROOM;
    if ((await countFilterWords(tx.db, roomId)) >= most)
      throw new Problem('conflict', `The list has at most ${most} words.`);
    const row = await putFilterWord(tx.db, {
      id: newId(),
      room_id: roomId,
      word: input.word,
      action: input.action,
      created_by: tx.caller.userId,
      created_at: new Date(),
    });
    await noteAudit(tx, roomId, 'word-added', { details: { word: row.word, action: row.action } });
    tx.afterCommit(() => tools.filter.forget());
    return toFilterWord(row);
  });
}

/** Filters a word no longer. Throws `not-found`. */
export async function removeWord(
  context: ChatContext,
  tools: ChatTools,
  input: ListInput & { wordId: string },
): Promise<void> {
  await context.transaction(async (tx) => {
    const roomId = await listOf(tx, input);
    const word = await deleteFilterWord(tx.db, input.wordId, roomId);
    if (word === undefined) throw notFound('word');
    await noteAudit(tx, roomId, 'word-removed', { details: { word } });
    tx.afterCommit(() => tools.filter.forget());
  });
}

const listOf = async (context: ChatContext, { roomId }: ListInput): Promise<string | null> =>
  roomId === undefined ? null : (await moderatedRoom(context, roomId)).id;

const toFilterWord = (row: FilterWordRow): FilterWord => ({
  id: row.id,
  roomId: row.room_id,
  word: row.word,
  action: row.action,
  createdAt: row.created_at.toISOString(),
});
