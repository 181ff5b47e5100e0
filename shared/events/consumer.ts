import type { Kysely, Transaction } from 'kysely';
import { type DomainEvent, EVENTS, EventEnvelope, type EventName } from '../contracts/events.ts';
import type { KernelTables } from '../db/kernel.ts';
import { transaction } from '../db/transaction.ts';
import { isUnavailable } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Log } from '../observability/log.ts';
import type { Metrics } from '../observability/metrics.ts';
import { inTrace } from '../observability/trace.ts';
import type { BusMessage, EventBus, Subscription } from '../ports/event-bus.ts';
import { deadLetterQueue, type QUEUES, type QueueName } from './topology.ts';

/** What a handler gets beside the event. */
export interface Delivery<S> {
  /**
   * Runs `effect` once per event and queue: the inbox row commits with it. Resolves with undefined when an
   * earlier delivery has had the effect already.
   */
  once<T>(effect: (tx: Transaction<S>) => Promise<T>): Promise<T | undefined>;
  /** True if the effect happened before: lets long work be skipped. */
  handled(): Promise<boolean>;
  log: Log;
}

export type Handlers<S, Q extends QueueName> = {
  [N in (typeof QUEUES)[Q][number]]: (event: DomainEvent<N>, delivery: Delivery<S>) => Promise<unknown>;
};

export interface RetryPolicy {
  /** A message is dead after this many attempts that failed for a reason of its own. */
  attempts: number;
  /** Pause before the second attempt; doubles each time up to `maxMs`. */
  firstMs: number;
  maxMs: number;
}

export const RETRY: RetryPolicy = { attempts: 6, firstMs: 200, maxMs: 10_000 };

export interface ConsumerOptions<S extends KernelTables, Q extends QueueName> {
  queue: Q;
  handlers: Handlers<S, Q>;
  db: Kysely<S>;
  bus: EventBus;
  log: Log;
  metrics: Metrics;
  prefetch?: number;
  retry?: RetryPolicy;
  /** Called after each effect: the service's outbox may have new rows. */
  nudge: () => void;
}

/**
 * Consumes one queue idempotently. A handler that throws is run again with growing pauses while the message
 * stays unacknowledged; an outage (database or other dependency away) never counts as an attempt; a message that
 * fails on its own `retry.attempts` times is kept in `dead_letters` and acknowledged.
 */
export async function startConsumer<S extends KernelTables, Q extends QueueName>(
  options: ConsumerOptions<S, Q>,
): Promise<Subscription> {
  const { queue, bus, log, metrics, retry = RETRY } = options;
  const kernel = options.db as unknown as Kysely<KernelTables>;
  const stopping = new AbortController();

  const bury = async (content: string, eventId: string | null, reason: string, attempts: number) => {
    await kernel
      .insertInto('dead_letters')
      .values({
        id: newId(),
        queue,
        event_id: eventId,
        content,
        reason: reason.slice(0, 2000),
        attempts,
        replayed_at: null,
      })
      .execute();
    metrics.deadLetters.inc({ queue });
    log.error({ queue, eventId, reason, attempts }, 'message is dead');
  };

  const handle = async (message: BusMessage): Promise<void> => {
    const event = parseEvent(message.content);
    for (let attempt = 1; ; attempt++) {
      try {
        if (!event.ok) return await bury(message.content, null, event.reason, 1);
        await handleOnce(options, event.value);
        return;
      } catch (error) {
        if (stopping.signal.aborted) throw error;
        const outage = isUnavailable(error);
        if (outage) attempt--;
        const name = event.ok ? event.value.name : 'invalid';
        metrics.eventsConsumed.inc({ queue, event: name, outcome: 'retried' });
        log.warn({ queue, event: name, attempt, outage, reason: describe(error) }, 'event handler failed');
        if (attempt >= retry.attempts && event.ok) {
          metrics.eventsConsumed.inc({ queue, event: name, outcome: 'dead' });
          // The burial may fail too (database away): then the message goes back to the broker.
          return await bury(message.content, event.value.id, describe(error), attempt);
        }
        await pause(Math.min(retry.maxMs, retry.firstMs * 2 ** Math.max(0, attempt - 1)), stopping.signal);
      }
    }
  };

  const main = await bus.consume(queue, handle, { prefetch: options.prefetch ?? 16 });
  // What the broker itself gave up on (it killed the process too often) joins the same list.
  const dead = await bus.consume(deadLetterQueue(queue), (message) =>
    bury(message.content, null, 'given up by the broker after too many deliveries', 0),
  );
  return {
    async stop() {
      stopping.abort();
      await Promise.all([main.stop(), dead.stop()]);
    },
  };
}

async function handleOnce<S extends KernelTables, Q extends QueueName>(
  options: ConsumerOptions<S, Q>,
  event: EventEnvelope,
): Promise<void> {
  const { queue, db, metrics, log } = options;
  const handler = (
    options.handlers as Record<
      string,
      ((event: never, delivery: Delivery<S>) => Promise<unknown>) | undefined
    >
  )[event.name];
  let outcome = 'handled';
  const delivery: Delivery<S> = {
    log: log.child({ event: event.name, eventId: event.id, traceparent: event.traceparent }),
    async once(effect) {
      return await transaction(db, async (tx) => {
        const inserted = await (tx as unknown as Kysely<KernelTables>)
          .insertInto('inbox')
          .values({ queue, event_id: event.id })
          .onConflict((conflict) => conflict.doNothing())
          .executeTakeFirst();
        if (!inserted.numInsertedOrUpdatedRows) {
          outcome = 'duplicate';
          return undefined;
        }
        return await effect(tx);
      });
    },
    async handled() {
      const row = await (db as unknown as Kysely<KernelTables>)
        .selectFrom('inbox')
        .select('event_id')
        .where('queue', '=', queue)
        .where('event_id', '=', event.id)
        .executeTakeFirst();
      return row !== undefined;
    },
  };
  if (handler) await inTrace(event.traceparent, () => handler(event as never, delivery));
  metrics.eventsConsumed.inc({ queue, event: event.name, outcome: handler ? outcome : 'ignored' });
  options.nudge();
}

type Parsed = { ok: true; value: EventEnvelope } | { ok: false; reason: string };

function parseEvent(content: string): Parsed {
  try {
    const envelope = EventEnvelope.parse(JSON.parse(content));
    const name: EventName = envelope.name;
    return { ok: true, value: { ...envelope, data: EVENTS[name].loose().parse(envelope.data) } };
  } catch (error) {
    return { ok: false, reason: `not a valid event: ${describe(error)}` };
  }
}

const describe = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : String(error);

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
