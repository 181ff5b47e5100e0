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
/**
 * Who claims an event publishes it within this time, or another relay does it again (how long a dead process keeps it).
 * Twice what a broker may take to confirm: what has waited here for half of it is left to the next claim.
 */
export const CLAIM_SECONDS = 10;
const POLL_MS = 1_000;
/** Milliseconds between two batches that are not full: under load each takes what has gathered meanwhile. */
const GATHER_MS = 50;
/** Events handed over that wait at most; what is beyond waits in the database. */
const MOST_HANDED = 10_000;
/** How often what waits is counted, for the metric. */
const COUNT_MS = 10_000;

export interface OutboxRelay {
  /** Looks at once instead of at the next poll; called after every commit. */
  nudge(): void;
  /**
   * Publishes events that the caller has committed with a claim of its own (`claimed_until`): they need not be read again.
   * Those that come when it has stopped are another relay's once the claim is over.
   */
  handOver(events: EventEnvelope[]): void;
  stop(): Promise<void>;
}

/**
 * Moves outbox rows to the bus: takes what it is handed, or claims a batch with `for update skip locked`; publishes, and
 * deletes what the broker confirmed. Any number of relays may run. An event is published at least once; rows that fail
 * are released and tried again with growing pauses.
 */
export function startOutboxRelay(options: {
  db: Kysely<KernelTables>;
  bus: EventBus;
  log: Log;
  metrics: Metrics;
}): OutboxRelay {
  const { db, bus, log, metrics } = options;
  const handed: EventEnvelope[] = [];
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

  async function claim(): Promise<EventEnvelope[]> {
    const { rows } = await sql<{ envelope: EventEnvelope }>`
      update outbox set claimed_until = now() + ${CLAIM_SECONDS} * interval '1 second', attempts = attempts + 1
      where id in (
        select id from outbox
        where published_at is null and (claimed_until is null or claimed_until < now())
        order by created_at, id limit ${BATCH} for update skip locked)
      returning envelope`.execute(db);
    return rows.map(({ envelope }) => envelope);
  }

  /** True if all were confirmed. */
  async function publish(events: EventEnvelope[]): Promise<boolean> {
    if (events.length === 0) return true;
    events.sort((a, b) => (a.id < b.id ? -1 : 1));
    const outcomes = await Promise.allSettled(events.map((event) => bus.publish(event)));
    const sent: string[] = [];
    const failed: string[] = [];
    let reason: unknown;
    outcomes.forEach((outcome, index) => {
      const { id, name } = events[index]!;
      const ok = outcome.status === 'fulfilled';
      (ok ? sent : failed).push(id);
      if (!ok) reason = outcome.reason;
      metrics.eventsPublished.inc({ event: name, outcome: ok ? 'confirmed' : 'failed' });
    });
    // One array and not a list of parameters: the server keeps its plan.
    if (sent.length > 0) await sql`delete from outbox where id = any(${sent}::uuid[])`.execute(db);
    if (failed.length > 0) {
      // The pause grows with the attempts, up to 30 s; CLAIM_SECONDS stays the bound for a dead relay.
      await sql`update outbox set claimed_until = now() + least(30, 0.25 * power(2, least(attempts, 8))) * interval '1 second'
        where id = any(${failed}::uuid[])`.execute(db);
      log.warn({ failed: failed.length, reason: String(reason) }, 'events not confirmed; will publish again');
    }
    return failed.length === 0;
  }

  /** True if there is more to do at once: not while the broker refuses. */
  async function work(look: boolean): Promise<boolean> {
    const oldest = Date.now() - (CLAIM_SECONDS * 1_000) / 2;
    const handedWell = await publish(handed.splice(0, BATCH).filter(({ at }) => Date.parse(at) > oldest));
    const claimed = look && !stopped ? await claim() : [];
    if (claimed.length === BATCH) nudged = true;
    const claimedWell = await publish(claimed);
    await countPending();
    return handedWell && claimedWell && (handed.length >= BATCH || claimed.length === BATCH);
  }

  const loop = (async () => {
    let lookAt = 0;
    while (!stopped) {
      const begunAt = performance.now();
      const look = nudged || begunAt >= lookAt;
      if (look) lookAt = begunAt + POLL_MS;
      nudged = false;
      let more = false;
      try {
        more = await work(look);
      } catch (error) {
        if (!stopped) log.warn({ reason: String(error) }, 'outbox relay could not work; will try again');
      }
      if (more || stopped) continue;
      if (nudged || handed.length > 0) {
        const pause = begunAt + GATHER_MS - performance.now();
        if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
        continue;
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(0, lookAt - performance.now()));
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  })();

  /** What is left is for another relay, at once. */
  async function release(): Promise<void> {
    if (handed.length === 0) return;
    const ids = handed.map(({ id }) => id);
    await sql`update outbox set claimed_until = null where id = any(${ids}::uuid[])`
      .execute(db)
      .catch(() => {});
  }

  return {
    nudge() {
      nudged = true;
      wake();
    },
    handOver(events) {
      if (handed.length + events.length > MOST_HANDED) return;
      handed.push(...events);
      wake();
    },
    async stop() {
      stopped = true;
      wake();
      await loop;
      await release();
    },
  };
}

/** Removes what no longer serves: inbox rows after 30 days, idempotency keys after 24 h, events that older processes marked. */
export async function sweepKernelTables(db: Kysely<KernelTables>): Promise<void> {
  await sql`delete from outbox where published_at < now() - interval '1 day'`.execute(db);
  await sql`delete from inbox where handled_at < now() - interval '30 days'`.execute(db);
  await sql`delete from idempotency_keys where created_at < now() - interval '24 hours'`.execute(db);
}
