import type { Kysely } from 'kysely';
import { Problem } from '../../../shared/errors.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { allFilterWords } from '../store/filter-words.ts';
import { type PostingFacts, postingFacts } from '../store/posting-facts.ts';
import type { ChatTables } from '../store/tables.ts';
import type { WordFilter } from '../word-filter/word-filter.ts';

/** What somebody wants to say where. */
export interface Candidate {
  userId: string;
  roomId: string;
  body: string;
}

/** `hold`: it is kept for a moderator, for the sake of this word. */
export type Verdict =
  | { outcome: 'post' }
  | { outcome: 'refuse'; problem: Problem }
  | { outcome: 'hold'; word: string; problem: Problem };

const POST: Verdict = { outcome: 'post' };

/**
 * Whether members may say what they want to say now: archived and locked rooms, mutes, slow mode, the word filter.
 * They are judged in their order: in slow mode the second of two in one batch waits. Whether they are members at
 * all is not asked here; of a room that does not exist (no facts) nothing is said. `readFilter` comes first.
 */
export function judgePosts(
  filter: WordFilter,
  candidates: Candidate[],
  facts: (PostingFacts | undefined)[],
  now: Date,
): Verdict[] {
  const lastSent = new Map<string, Date>();
  return candidates.map((candidate, index) => {
    const known = facts[index];
    if (!known) return POST;
    const key = `${candidate.userId} ${candidate.roomId}`;
    const last = lastSent.get(key) ?? known.last_sent_at;
    const problem = refusal(known, last, now);
    if (problem) return { outcome: 'refuse', problem };
    const verdict = judgeText(filter, candidate, isModerator(known));
    if (verdict.outcome === 'post') lastSent.set(key, now);
    return verdict;
  });
}

/** The same for one change of text by the caller (an edit): what would have to be reviewed is refused. Throws. */
export async function refuseBadEdit(
  tx: ChatContext,
  tools: ChatTools,
  candidate: Omit<Candidate, 'userId'>,
): Promise<void> {
  const whole = { ...candidate, userId: tx.caller.userId };
  const [known] = await postingFacts(tx.db, [whole]);
  await readFilter(tx.db, tools.filter);
  const problem = known && refusal(known, null, new Date());
  if (problem) throw problem;
  const verdict = judgeText(tools.filter, whole, known !== undefined && isModerator(known));
  if (verdict.outcome !== 'post') throw wordRefused();
}

/** What a webhook may say: the filter holds for it too, and it can't wait for a review. Throws. */
export async function refuseBadText(
  db: Kysely<ChatTables>,
  filter: WordFilter,
  roomId: string,
  text: string,
): Promise<void> {
  await readFilter(db, filter);
  if (filter.match(roomId, text)) throw wordRefused();
}

/** Whether the caller may take part otherwise (react, be seen typing): throws for who is muted or locked out. */
export async function refuseSilenced(tx: ChatContext, roomId: string): Promise<void> {
  const [known] = await postingFacts(tx.db, [{ userId: tx.caller.userId, roomId }]);
  const problem = known && refusal(known, null, new Date());
  if (problem) throw problem;
}

/** Reads the word filter's list again unless it is fresh: a query twice a second at most. */
export const readFilter = (db: Kysely<ChatTables>, filter: WordFilter): Promise<void> =>
  filter.refresh(async () =>
    (await allFilterWords(db)).map(({ room_id, word, action }) => ({ roomId: room_id, word, action })),
  );

const isModerator = (known: PostingFacts): boolean => known.role === 'owner' || known.role === 'moderator';

function refusal(known: PostingFacts, lastSent: Date | null, now: Date): Problem | undefined {
  if (known.archived) return new Problem('conflict', 'The room is archived: it is read-only.');
  if (known.muted) {
    const until = known.muted_until;
    return new Problem(
      'muted',
      until ? `Muted in this room until ${until.toISOString()}.` : 'Muted in this room.',
      until ? { retryAfter: Math.max(1, (until.getTime() - now.getTime()) / 1000) } : {},
    );
  }
  if (isModerator(known)) return undefined;
  if (known.locked) return new Problem('room-locked', 'The room is locked: only moderators may write.');
  if (known.slow_mode_seconds === 0) return undefined;
  const wait = lastSent ? lastSent.getTime() + known.slow_mode_seconds * 1000 - now.getTime() : 0;
  if (wait <= 0) return undefined;
  const seconds = Math.ceil(wait / 1000);
  return new Problem('slow-mode', `The room is in slow mode. Write again in ${seconds} s.`, {
    retryAfter: seconds,
  });
}

function judgeText(filter: WordFilter, { roomId, body }: Candidate, moderator: boolean): Verdict {
  const match = filter.match(roomId, body);
  if (!match) return POST;
  if (match.action === 'refuse') return { outcome: 'refuse', problem: wordRefused() };
  // A moderator would review it himself.
  if (moderator) return POST;
  const problem = new Problem('held-for-review', 'The message waits for a moderator to look at it.');
  return { outcome: 'hold', word: match.word, problem };
}

/** Which word it was is not said: that would help to get around it. */
const wordRefused = (): Problem =>
  new Problem('content-refused', 'The text has words that are not allowed here.');
