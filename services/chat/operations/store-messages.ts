import type { Kysely } from 'kysely';
import type { Attachment, Message, MessageChange, ThreadChange } from '../../../shared/contracts/chat.ts';
import type { EventEnvelope } from '../../../shared/contracts/events.ts';
import { transaction } from '../../../shared/db/transaction.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import { CLAIM_SECONDS, envelopeOf, type NewEvent } from '../../../shared/events/outbox.ts';
import { newId } from '../../../shared/ids.ts';
import { recordChanges } from '../store/changes.ts';
import { findFiles } from '../store/files.ts';
import { holdMessages } from '../store/held-messages.ts';
import { findMessages, type MessageRow, toMessage, withReactions } from '../store/messages.ts';
import { nameUnknownPeople } from '../store/people.ts';
import { countReplies } from '../store/replies.ts';
import {
  findSenders,
  insertMessages,
  lockRooms,
  membersOf,
  type SenderRow,
  type SendRoom,
} from '../store/sending.ts';
import type { ChatTables } from '../store/tables.ts';
import type { WordFilter } from '../word-filter/word-filter.ts';
import { checkedAttachments, type FileFacts, seenByAll } from './attachments.ts';
import { type Mentions, readMentions } from './mentions.ts';
import { type Author, keyOf, keyTextOf, newRow, type Send, type Sent, sentEvent } from './new-message.ts';
import { judgePosts, readFilter, type Verdict } from './posting-rules.ts';

export interface Stored<Outcome = Sent | Problem> {
  /** One for each send, in their order. A problem concerns its own send only. */
  outcomes: Outcome[];
  /** What to tell connected clients after the commit. */
  messages: Message[];
  threads: ThreadChange[];
  /** Of messages with attachments that only some may see: connected clients are told to ask. */
  apart: MessageChange[];
  /** Claimed, for the relay; none from an open transaction: those are for whoever comes first. */
  events: EventEnvelope[];
}

/** A message that gets stored; its number and time are known once it is. */
interface Fresh {
  row: MessageRow;
  /** Of its attachments those that everybody in the room may see. */
  common: Attachment[];
  sender: SenderRow;
  send: Send;
}

/**
 * Stores messages of any authors to any rooms, in two round trips however many they are, and some more where there are
 * replies, mentions or attachments among them. Each gets its room's next number in the order given. What the database
 * refuses, it refuses as a whole. A client id that is known gives the first result; one that another process stores in
 * this moment makes the whole fail (23505), and is known the next time. In an open transaction, which can't be tried
 * again, the rooms are locked first, and this does not happen.
 */
export async function storeMessages(
  db: Kysely<ChatTables>,
  filter: WordFilter,
  sends: Send[],
): Promise<Stored> {
  const keys = sends.map(keyOf);
  if (db.isTransaction) {
    await lockRooms(
      db,
      keys.map(({ roomId }) => roomId),
    );
  }
  const { rooms, senders } = await findSenders(db, keys);
  const now = new Date();
  const entries = admit(sends, rooms, senders);
  const candidates = entries.filter((entry) => entry instanceof Candidate);
  const verdicts = await judge(db, filter, candidates, now);
  const files = await filesOf(db, candidates);
  const originals = await originalsOf(db, candidates);
  for (const [index, candidate] of candidates.entries()) candidate.decide(verdicts[index]!, files, originals);

  await hold(db, candidates, verdicts, now);
  const fresh = candidates.flatMap((candidate) => candidate.fresh ?? []);
  const { threads, apart, events } = await write(db, fresh);
  const first = await firstResults(db, entries);
  return {
    outcomes: entries.map((entry) => outcomeOf(entry, entries, first)),
    messages: fresh.map(messageForAll),
    threads,
    apart,
    events,
  };
}

/** What a send turns out to be: nobody's business, sent before, the twin of one before it, or new. */
type Entry = Problem | { sentId: string } | { twinOf: number } | Candidate;

function admit(sends: Send[], rooms: Map<string, SendRoom>, senders: SenderRow[]): Entry[] {
  const seen = new Map<string, number>();
  return sends.map((send, index): Entry => {
    const room = rooms.get(keyOf(send).roomId);
    const sender = senders[index]!;
    const problem = strange(room, sender, send.author);
    if (!room || problem) return problem ?? notFound('room');
    if (sender.sent_id !== null) return { sentId: sender.sent_id };
    const key = keyTextOf(send);
    const twinOf = seen.get(key);
    if (twinOf !== undefined) return { twinOf };
    seen.set(key, index);
    return new Candidate(send, room, sender);
  });
}

/** Why this author has no say in the room at all, as `memberRoom` says it. */
function strange(room: SendRoom | undefined, sender: SenderRow, author: Author): Problem | undefined {
  if (room && (sender.role !== null || author.exempt)) return undefined;
  if (room?.kind === 'course' && author.role === 'admin')
    return new Problem('forbidden', 'Only members of the room may do this.');
  if (!sender.banned) return notFound('room');
  const until = sender.banned_until ? ` until ${sender.banned_until.toISOString()}` : '';
  return new Problem('banned', `Banned from this room${until}.`);
}

/** A send that is new, until it is decided. */
class Candidate {
  problem: Problem | undefined;
  fresh: Fresh | undefined;

  constructor(
    readonly send: Send,
    readonly room: SendRoom,
    readonly sender: SenderRow,
  ) {}

  decide(verdict: Verdict, files: Map<string, FileFacts>, originals: Map<string, MessageRow>): void {
    try {
      if (verdict.outcome !== 'post') throw verdict.problem;
      this.fresh = this.#create(files, originals);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.problem = error;
    }
  }

  #create(files: Map<string, FileFacts>, originals: Map<string, MessageRow>): Fresh {
    const { room, sender, send } = this;
    const { author, input } = send;
    const attachments = checkedAttachments(input.attachments ?? [], files, {
      id: author.id,
      courseId: room.course_id,
    });
    const replyTo = checkedReply(input.replyTo ?? null, originals, room.id);
    const row: MessageRow = {
      ...newRow(send),
      author_name: sender.name ?? author.name,
      author_bot: sender.bot,
      reply_to: replyTo,
      attachments,
    };
    return { row, common: seenByAll(attachments, files, room.course_id), sender, send };
  }
}

function checkedReply(
  replyTo: string | null,
  originals: Map<string, MessageRow>,
  roomId: string,
): string | null {
  if (replyTo === null) return null;
  const original = originals.get(replyTo.toLowerCase());
  if (original?.room_id === roomId) return original.id;
  throw new Problem('validation-failed', 'The message replied to is not in this room.', {
    errors: [{ path: 'body.replyTo', message: 'no such message in this room' }],
  });
}

async function judge(
  tx: Kysely<ChatTables>,
  filter: WordFilter,
  candidates: Candidate[],
  now: Date,
): Promise<Verdict[]> {
  const bound = candidates.filter(({ send }) => !send.author.exempt);
  if (bound.length > 0) await readFilter(tx, filter);
  const verdicts = judgePosts(
    filter,
    bound.map(({ send, room }) => ({ userId: send.author.id, roomId: room.id, body: send.input.body })),
    bound.map(({ sender, room }) => ({ ...room, ...sender })),
    now,
  );
  const known = new Map(bound.map((candidate, index) => [candidate, verdicts[index]!]));
  return candidates.map((candidate) => known.get(candidate) ?? { outcome: 'post' });
}

async function filesOf(tx: Kysely<ChatTables>, candidates: Candidate[]): Promise<Map<string, FileFacts>> {
  const ids = candidates.flatMap(({ send }) =>
    (send.input.attachments ?? []).map(({ fileId }) => fileId.toLowerCase()),
  );
  return new Map((await findFiles(tx, [...new Set(ids)])).map((file) => [file.file_id, file]));
}

async function originalsOf(
  tx: Kysely<ChatTables>,
  candidates: Candidate[],
): Promise<Map<string, MessageRow>> {
  const ids = candidates.flatMap(({ send }) => send.input.replyTo?.toLowerCase() ?? []);
  return new Map((await findMessages(tx, [...new Set(ids)])).map((row) => [row.id, row]));
}

type Written = Pick<Stored, 'threads' | 'apart' | 'events'>;

/** Stores the messages with their mentions and the events that tell of them; counts the replies among them. */
async function write(db: Kysely<ChatTables>, fresh: Fresh[]): Promise<Written> {
  if (fresh.length === 0) return { threads: [], apart: [], events: [] };
  const mentions = await readMentions(
    db,
    fresh.map(({ row }) => ({ roomId: row.room_id, body: row.body })),
  );
  for (const [index, { row, sender }] of fresh.entries()) {
    const { userIds, room } = mentions[index]!;
    row.mentions = userIds;
    row.mentions_room = room && (sender.role === 'owner' || sender.role === 'moderator');
  }
  const everybody = await membersOf(
    db,
    fresh.flatMap(({ row }) => (row.mentions_room ? [row.room_id] : [])),
  );
  const unnamed = fresh.filter(({ sender, send }) => sender.name === null && send.author.name !== '');
  await nameUnknownPeople(db, new Map(unnamed.map(({ send }) => [send.author.id, send.author.name])));

  const rows = fresh.map((one, index) => ({
    ...one.row,
    // A webhook reads nothing, and an author whose message a moderator lets through may be away.
    present: !one.send.author.exempt,
    events: eventsOf(one, mentions[index]!, everybody).map(envelopeOf),
  }));
  const answers = fresh.some(({ row }) => row.reply_to !== null);
  const partly = fresh.filter(hidesSome);
  const claimSeconds = db.isTransaction ? 0 : CLAIM_SECONDS;
  const store = async (tx: Kysely<ChatTables>): Promise<Written> => {
    const stored = await insertMessages(tx, rows, { plainOnly: false, claimSeconds });
    for (const { row } of fresh) {
      const { seq, created_at } = stored.messages.get(row.id)!;
      Object.assign(row, { seq, created_at });
    }
    return {
      threads: answers ? await countThreads(tx, fresh) : [],
      apart: await changeForSome(tx, partly),
      events: claimSeconds > 0 ? stored.events : [],
    };
  };
  // By itself the statement is a transaction.
  return answers || partly.length > 0 ? transaction(db, store) : store(db);
}

const hidesSome = ({ row, common }: Fresh): boolean => common.length < row.attachments.length;

/** The message for all connected clients alike; what some of them may see besides comes with its first change. */
const messageForAll = (one: Fresh): Message =>
  toMessage(hidesSome(one) ? { ...one.row, attachments: one.common, change_seq: 0 } : one.row, []);

/** Counts the attachments that only some may see as a change, so that each client asks and gets what is for it. */
async function changeForSome(tx: Kysely<ChatTables>, partly: Fresh[]): Promise<MessageChange[]> {
  const changed = partly.map(({ row }) => ({ roomId: row.room_id, messageId: row.id }));
  const numbers = await recordChanges(tx, changed);
  return partly.map(({ row }) => {
    const number = numbers.get(row.id)!;
    row.change_seq = number.changeSeq;
    return { roomId: row.room_id, ...number };
  });
}

function eventsOf(
  { row, send }: Fresh,
  mentions: Mentions,
  everybody: Map<string, string[]>,
): NewEvent<'message.sent' | 'message.mentioned'>[] {
  const sent = sentEvent(row, mentions.excerpt, send);
  const named = row.mentions_room ? (everybody.get(row.room_id) ?? []) : row.mentions;
  const mentioned = named.filter((userId) => userId !== row.author_id);
  if (mentioned.length === 0) return [sent];
  const parts = Array.from({ length: Math.ceil(mentioned.length / MENTIONED_AT_ONCE) }, (_, part) => ({
    ...sent,
    name: 'message.mentioned' as const,
    data: {
      ...sent.data,
      mentioned: mentioned.slice(part * MENTIONED_AT_ONCE, (part + 1) * MENTIONED_AT_ONCE),
    },
  }));
  return [sent, ...parts];
}

/** People in one event: a whole room may be thousands. */
const MENTIONED_AT_ONCE = 500;

/** Keeps for a moderator what the word filter wants looked at. */
async function hold(
  tx: Kysely<ChatTables>,
  candidates: Candidate[],
  verdicts: Verdict[],
  now: Date,
): Promise<void> {
  await holdMessages(
    tx,
    candidates.flatMap(({ send, room }, index) => {
      const verdict = verdicts[index]!;
      if (verdict.outcome !== 'hold') return [];
      return {
        id: newId(),
        room_id: room.id,
        author_id: send.author.id,
        client_id: send.input.clientId,
        body: send.input.body,
        reply_to: send.input.replyTo ?? null,
        attachments: send.input.attachments ?? [],
        word: verdict.word,
        created_at: now,
      };
    }),
  );
}

/** Counts the replies of messages that were answered; each of those has changed by it. */
async function countThreads(tx: Kysely<ChatTables>, fresh: Fresh[]): Promise<ThreadChange[]> {
  const parents = fresh.flatMap(({ row }) => row.reply_to ?? []);
  const threads = await countReplies(tx, parents, fresh[0]!.row.created_at);
  const numbers = await recordChanges(tx, threads);
  return threads.map((thread) => ({ ...thread, ...numbers.get(thread.messageId)! }));
}

/** What earlier sends under the same client ids have become, as their author sees it now. */
async function firstResults(tx: Kysely<ChatTables>, entries: Entry[]): Promise<Map<string, Message>> {
  const ids = entries.flatMap((entry) => ('sentId' in entry ? entry.sentId : []));
  const rows = await findMessages(tx, [...new Set(ids)]);
  const found = new Map<string, Message>();
  for (const [authorId, own] of Map.groupBy(rows, (row) => row.author_id))
    for (const message of await withReactions(tx, own, authorId)) found.set(message.id, message);
  return found;
}

function outcomeOf(entry: Entry, entries: Entry[], first: Map<string, Message>): Sent | Problem {
  if (entry instanceof Problem) return entry;
  if ('sentId' in entry) return { message: first.get(entry.sentId)!, created: false };
  if ('twinOf' in entry) {
    const outcome = outcomeOf(entries[entry.twinOf]!, entries, first);
    return outcome instanceof Problem ? outcome : { ...outcome, created: false };
  }
  return entry.problem ?? { message: toMessage(entry.fresh!.row, []), created: true };
}
