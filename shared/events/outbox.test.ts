import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { type Kysely, sql } from 'kysely';
import { openPglite } from '../adapters/database/pglite.ts';
import type { EventEnvelope } from '../contracts/events.ts';
import type { KernelTables } from '../db/kernel.ts';
import { migrate } from '../db/migrate.ts';
import { unavailable } from '../errors.ts';
import { newId } from '../ids.ts';
import { createMetrics } from '../observability/metrics.ts';
import type { EventBus } from '../ports/event-bus.ts';
import { eventually } from '../testing/eventually.ts';
import { CLAIM_SECONDS, envelopeOf, startOutboxRelay } from './outbox.ts';

const quiet = { info() {}, warn() {}, error() {}, debug() {} } as never;

const eventOf = (): EventEnvelope =>
  envelopeOf({ name: 'user.deleted', actor: 'system', subject: newId(), data: { userId: newId() } });

describe('the relay of the outbox', () => {
  let close: () => Promise<void>;
  let db: Kysely<KernelTables>;
  const published: EventEnvelope[] = [];
  let brokerIsAway = false;
  let refused: string | undefined;
  let confirmMs = 0;
  let attempts = 0;
  const bus = {
    async publish(event: EventEnvelope) {
      attempts++;
      if (confirmMs > 0) await Bun.sleep(confirmMs);
      if (brokerIsAway || event.id === refused) throw unavailable('The event broker');
      published.push(event);
    },
  } as unknown as EventBus;

  beforeAll(async () => {
    const pglite = await openPglite(undefined);
    db = await pglite.database<KernelTables>('outbox');
    await migrate(db, 'outbox', []);
    close = () => pglite.close();
  });
  afterAll(() => close());
  beforeEach(async () => {
    published.length = 0;
    brokerIsAway = false;
    refused = undefined;
    confirmMs = 0;
    attempts = 0;
    await db.deleteFrom('outbox').execute();
  });

  const start = () => startOutboxRelay({ db, bus, log: quiet, metrics: createMetrics('test') });
  const write = async (events: EventEnvelope[], claimedUntil: Date | null = null) => {
    for (const envelope of events) {
      const { id, name } = envelope;
      await db.insertInto('outbox').values({ id, name, envelope, claimed_until: claimedUntil }).execute();
    }
  };
  const mine = () => new Date(Date.now() + CLAIM_SECONDS * 1_000);
  const left = async () => (await db.selectFrom('outbox').select('id').execute()).map(({ id }) => id);
  const ids = () => published.map(({ id }) => id);

  test('publishes what it finds in the order of its making, and keeps nothing', async () => {
    const events = Array.from({ length: 250 }, eventOf);
    await write(events);
    const relay = start();
    await eventually(async () => (await left()).length === 0);
    expect(published).toEqual(events);
    await relay.stop();
  });

  test('what is handed over is published without being looked for, and once', async () => {
    const [handed, another] = [eventOf(), eventOf()];
    await write([handed, another], mine());
    const relay = start();
    relay.handOver([handed]);
    relay.nudge();
    await eventually(async () => (await left()).length === 1);
    expect(ids()).toEqual([handed.id]);
    // The other one is claimed by a process that has died; its time comes.
    await sql`update outbox set claimed_until = now() - interval '1 second'`.execute(db);
    relay.nudge();
    await eventually(async () => (await left()).length === 0);
    expect(ids()).toEqual([handed.id, another.id]);
    await relay.stop();
  });

  test('events handed over without a pause do not keep it from those that wait in the database', async () => {
    const waiting = eventOf();
    const relay = start();
    let handedOver = 0;
    const flood = setInterval(() => {
      const event = eventOf();
      handedOver++;
      void write([event], mine()).then(() => relay.handOver([event]));
    }, 5);
    await eventually(() => published.length > 5);
    await write([waiting]);
    await eventually(() => ids().includes(waiting.id));
    clearInterval(flood);
    await eventually(async () => published.length === handedOver + 1 && (await left()).length === 0);
    expect(new Set(ids()).size).toBe(handedOver + 1);
    await relay.stop();
  });

  test('what the broker does not confirm is tried again, handed over or not', async () => {
    brokerIsAway = true;
    const [handed, waiting] = [eventOf(), eventOf()];
    await write([handed], mine());
    await write([waiting]);
    const relay = start();
    relay.handOver([handed]);
    await eventually(async () => {
      const { rows } = await sql<{ id: string }>`
        select id from outbox where claimed_until < now() + interval '5 seconds'`.execute(db);
      return rows.length === 2;
    });
    brokerIsAway = false;
    await eventually(async () => (await left()).length === 0);
    expect(ids().sort()).toEqual([handed.id, waiting.id].sort());
    await relay.stop();
  });

  test('one event that is refused holds up no other', async () => {
    const events = Array.from({ length: 5 }, eventOf);
    refused = events[2]!.id;
    await write(events, mine());
    const relay = start();
    relay.handOver([...events]);
    await eventually(() => published.length === 4);
    await eventually(async () => (await left()).length === 1);
    expect(await left()).toEqual([refused]);
    refused = undefined;
    await eventually(async () => (await left()).length === 0);
    await relay.stop();
  });

  test('a relay that stops leaves what it was handed to another, at once', async () => {
    const events = Array.from({ length: 1_000 }, eventOf);
    await write(events, mine());
    const first = start();
    first.handOver([...events]);
    await first.stop();
    expect(published.length).toBeLessThan(events.length);
    const second = start();
    second.nudge();
    await eventually(async () => (await left()).length === 0);
    expect(ids().sort()).toEqual(events.map(({ id }) => id).sort());
    await second.stop();
  });

  test('a broker that is slow gets what was handed over once', async () => {
    confirmMs = 700;
    const events = Array.from({ length: 1_500 }, eventOf);
    const values = events.map((envelope) => ({
      ...{ id: envelope.id, name: envelope.name, envelope },
      claimed_until: mine(),
    }));
    await db.insertInto('outbox').values(values).execute();
    const relay = start();
    relay.handOver([...events]);
    await eventually(async () => (await left()).length === 0, 40_000);
    expect(ids().sort()).toEqual(events.map(({ id }) => id).sort());
    await relay.stop();
  });

  test('a broker that is away is not asked without a pause', async () => {
    brokerIsAway = true;
    await write(Array.from({ length: 1_000 }, eventOf));
    const relay = start();
    const nudging = setInterval(relay.nudge, 10);
    await Bun.sleep(1_000);
    clearInterval(nudging);
    await relay.stop();
    // Twenty batches of a hundred a second at most.
    expect(attempts).toBeGreaterThan(0);
    expect(attempts).toBeLessThanOrEqual(2_200);
  });
});
