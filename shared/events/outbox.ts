import { type Kysely, sql } from 'kysely';
import { EVENTS, type EventData, type EventEnvelope, type EventName } from '../contracts/events.ts';
import type { KernelTables } from '../db/kernel.ts';
import { newId } from '../ids.ts';
import type { Log } from '../observability/log.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { EventBus } from '../ports/event-bus.ts';

export interface NewEvent<N extends EventName> {
  name: N;
  /** User id, or `system`. */
  actor: string;
  /** Id of what the event is about. */
  subject: string;
  data: EventData<N>;
  traceparent?: string | undefined;
}

/**
 * Writes an event to the outbox of the transaction `tx`: it is published if and only if that commits.
 * The one way to publish. Throws a ZodError on data that its schema does not allow (a defect, hence a 500).
 */
export async function publishEvent<N extends EventName>(
  tx: Kysely<KernelTables>,
  event: NewEvent<N>,
): Promise<string> {
  const envelope = envelopeOf(event);
  await tx.insertInto('outbox').values({ id: envelope.id, name: envelope.name, envelope }).execute();
  return envelope.id;
}

/** The event as it is written to the outbox and published, for who writes many in a statement of their own. */
export function envelopeOf<N extends EventName>(event: NewEvent<N>): EventEnvelope {
  return {
    id: newId(),
    name: event.name,
    version: 1,
    at: new Date().toISOString(),
    actor: event.actor,
    subject: event.subject,
    traceparent: event.traceparent ?? null,
    data: EVENTS[event.name].parse(event.data),
  };
}

const BATCH = 100;
/** A relay that dies loses its claim after this long, and another publishes the rows again. */
const CLAIM_SECONDS = 20;
const POLL_MS = 1_000;
/** Milliseconds between two claims that find less than a batch: under load a claim takes what has gathered meanwhile. */
const GATHER_MS = 50;
/** How often what waits is counted, for the metric. */
const COUNT_MS = 10_000;

export interface OutboxRelay {
  /** Looks at once instead of at the next poll; called after every commit. */
  nudge(): void;
  stop(): Promise<void>;
}

/**
 * Moves outbox rows to the bus: claims a batch with `for update skip locked`, publishes, and marks what the
 * broker confirmed. Any number of relays may run. An event is published at least once; rows that fail are
 * released and tried again with growing pauses.
 */
export function startOutboxRelay(options: {
  db: Kysely<KernelTables>;
  bus: EventBus;
  log: Log;
  metrics: Metrics;
}): OutboxRelay {
  const { db, bus, log, metrics } = options;
  let stopped = false;
  let wake: () => void = () => {};
  let nudged = false;
  let countedAt = 0;

  async function countPending(): Promise<void> {
    if (performance.now() - countedAt < COUNT_MS && countedAt > 0) return;
    countedAt = performance.now();
    const { rows } = await sql<{ pending: string | number }>`
      select count(*) as pending from outbox where published_at is null`.execute(db);
    metrics.outboxPending.set(Number(rows[0]!.pending));
  }

  async function claim(): Promise<{ id: string; envelope: EventEnvelope }[]> {
    const { rows } = await sql<{ id: string; envelope: EventEnvelope }>`
      update outbox set claimed_until = now() + ${CLAIM_SECONDS} * interval '1 second', attempts = attempts + 1
      where id in (
        select id from outbox
        where published_at is null and (claimed_until is null or claimed_until < now())
        order by created_at, id limit ${BATCH} for update skip locked)
      returning id, envelope`.execute(db);
    return rows.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async function publishBatch(): Promise<number> {
    const rows = await claim();
    if (rows.length === 0) return 0;
    const outcomes = await Promise.allSettled(rows.map((row) => bus.publish(row.envelope)));
    const sent: string[] = [];
    const failed: string[] = [];
    let reason: unknown;
    outcomes.forEach((outcome, index) => {
      const row = rows[index]!;
      const ok = outcome.status === 'fulfilled';
      (ok ? sent : failed).push(row.id);
      if (!ok) reason = outcome.reason;
      metrics.eventsPublished.inc({ event: row.envelope.name, outcome: ok ? 'confirmed' : 'failed' });
    });
    if (sent.length > 0) {
      // One array and not a list of parameters: the server keeps its plan.
      await sql`update outbox set published_at = ${new Date()} where id = any(${sent}::uuid[])`.execute(db);
    }
    if (failed.length > 0) {
      // The pause grows with the attempts, up to 30 s; CLAIM_SECONDS stays the bound for a dead relay.
      await sql`update outbox set claimed_until = now() + least(30, 0.25 * power(2, least(attempts, 8))) * interval '1 second'
        where id in (${sql.join(failed)})`.execute(db);
      log.warn({ failed: failed.length, reason: String(reason) }, 'events not confirmed; will publish again');
    }
    return sent.length;
  }

  const loop = (async () => {
    while (!stopped) {
      const begunAt = performance.now();
      nudged = false;
      let moved = 0;
      try {
        moved = await publishBatch();
        await countPending();
      } catch (error) {
        if (!stopped) log.warn({ reason: String(error) }, 'outbox relay could not work; will try again');
      }
      if (moved === BATCH || stopped) continue;
      if (nudged) {
        const pause = begunAt + GATHER_MS - performance.now();
        if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
        continue;
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, POLL_MS);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  })();

  return {
    nudge() {
      nudged = true;
      wake();
    },
    async stop() {
      stopped = true;
      wake();
      await loop;
    },
  };
}

/** Removes what no longer serves: published events after a day, inbox rows after 30 days, idempotency keys after 24 h. */
export async function sweepKernelTables(db: Kysely<KernelTables>): Promise<void> {
  await sql`delete from outbox where published_at < now() - interval '1 day'`.execute(db);
  await sql`delete from inbox where handled_at < now() - interval '30 days'`.execute(db);
  await sql`delete from idempotency_keys where created_at < now() - interval '24 hours'`.execute(db);
}
