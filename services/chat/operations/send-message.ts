import type { Kysely } from 'kysely';
import type { Message, NewMessage } from '../../../shared/contracts/chat.ts';
import type { EventEnvelope } from '../../../shared/contracts/events.ts';
import { GroupCommit, type Stage } from '../../../shared/db/group-commit.ts';
import { tryAgain } from '../../../shared/db/transaction.ts';
import { Problem } from '../../../shared/errors.ts';
import type { EphemeralStore } from '../../../shared/ports/ephemeral-store.ts';
import type { ChatContext, ChatTools, Live } from '../context.ts';
import type { ChatTables } from '../store/tables.ts';
import type { WordFilter } from '../word-filter/word-filter.ts';
import type { Send, Sent } from './new-message.ts';
import { SendLimit } from './send-limit.ts';
import { type Stored, storeMessages } from './store-messages.ts';
import { storePlainMessages } from './store-plain-messages.ts';

/** Messages of one person to one room: a burst, then so many a second. */
const SEND_BURST = 100;
const SEND_PER_SECOND = 20;
/** PostgreSQL's unique violation: another process has just stored one of these client ids. */
const STORED_MEANWHILE = '23505';
/** Messages in one transaction at most: what keeps a room's row locked must end soon. */
const BATCH = 200;
/** Transactions of this process at once. More of them make smaller batches, each with its own commit. */
const LANES = 2;
/**
 * Many rooms under moderate load would make many small transactions, and most of what one costs is the same for a message
 * and for ten: so a process begins one every so many milliseconds at most.
 */
const BATCH_EVERY_MS = 15;

/**
 * Says something in a room. The message gets the room's next number in the transaction, so numbers have no
 * gaps; the same `clientId` again gives the first result (`created: false`). Throws `not-found`, `forbidden`,
 * `conflict` (archived), `rate-limited`, or `validation-failed` (attachments, replyTo). `onQueued` is called when
 * the message's place among others to the room is settled.
 */
export async function sendMessage(
  context: ChatContext,
  tools: ChatTools,
  input: NewMessage & { roomId: string },
  onQueued?: () => void,
): Promise<{ message: Message; created: boolean }> {
  await limitSending(context, tools, input.roomId);
  const { userId: id, name, role } = context.caller;
  const send: Send = { author: { id, name, role }, traceparent: context.origin.traceparent, input };
  const posted = postMessage(context, tools, send);
  onQueued?.();
  return posted;
}

/** Posts for any author: with others in one transaction, or in that of the context if it is in one. */
export async function postMessage(context: ChatContext, tools: ChatTools, send: Send): Promise<Sent> {
  if (!context.inTransaction) return settled(await tools.sendQueue.add(send));
  const stored = await storeMessages(context.db, tools.filter, [send]);
  context.afterCommit(() => tell(tools.live, stored));
  return settled(stored.outcomes[0]!);
}

/** How much one person may say in one room; `scale` multiplies it. */
export const openSendLimit = (store: EphemeralStore, scale: number): SendLimit =>
  new SendLimit(store, { capacity: SEND_BURST * scale, perSecond: SEND_PER_SECOND * scale });

/** Where messages wait for the next transaction of this process. */
export type SendQueue = GroupCommit<Send, Sent | Problem>;

/**
 * Stores what is sent at the same time in one transaction, or in two where there is something to decide, and tells
 * connected clients after its commit. `handOver` gets the events to publish; `onStored` is told how many were stored
 * together.
 */
export const openSendQueue = (
  db: Kysely<ChatTables>,
  tools: { live: Live; filter: WordFilter },
  handOver: (events: EventEnvelope[]) => void,
  onStored: (messages: number) => void = () => {},
): SendQueue => {
  const stage =
    (
      store: (...args: Parameters<typeof storeMessages>) => Promise<Stored<Sent | Problem | undefined>>,
    ): Stage<Send, Sent | Problem> =>
    async (sends) => {
      const stored = await tryAgain(() => store(db, tools.filter, sends), [STORED_MEANWHILE]);
      if (stored.messages.length > 0) onStored(stored.messages.length);
      handOver(stored.events);
      return { results: stored.outcomes, after: () => tell(tools.live, stored) };
    };
  return new GroupCommit([stage(storePlainMessages), stage(storeMessages)], {
    most: BATCH,
    lanes: LANES,
    everyMs: BATCH_EVERY_MS,
    keyOf: ({ input }) => input.roomId.toLowerCase(),
  });
};

function tell(live: Live, { messages, threads, apart }: Stored<unknown>): void {
  live.messages(messages);
  for (const thread of threads) live.thread(thread);
  for (const change of apart) live.changed(change);
}

function settled(outcome: Sent | Problem): Sent {
  if (outcome instanceof Problem) throw outcome;
  return outcome;
}

/** Throws `rate-limited`. */
async function limitSending(context: ChatContext, tools: ChatTools, roomId: string): Promise<void> {
  const taken = tools.sendLimit.take(`chat:send:${context.caller.userId}:${roomId.toLowerCase()}`);
  const decision = taken instanceof Promise ? await taken : taken;
  if (decision.allowed) return;
  throw new Problem('rate-limited', 'You are sending too fast. Wait a moment.', {
    retryAfter: decision.resetMs / 1000,
    headers: {
      'ratelimit-limit': String(SEND_BURST * tools.limitScale),
      'ratelimit-remaining': String(decision.remaining),
      'ratelimit-reset': String(Math.ceil(decision.resetMs / 1000)),
    },
  });
}
