import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EventEnvelope } from '../../contracts/events.ts';
import { isUnavailable } from '../../errors.ts';
import type { EventBus, Subscription } from '../../ports/event-bus.ts';
import { eventually } from '../../testing/eventually.ts';
import { realServer } from '../../testing/servers.ts';
import { tcpProxy } from '../../testing/tcp-proxy.ts';
import { openPglite, type PgliteServer } from '../database/pglite.ts';
import { type BusTables, openInProcessBus } from './in-process.ts';
import { openRabbitmq } from './rabbitmq.ts';
import type { Topology } from './topology.ts';

// A first start of PGlite takes seconds, more on a busy machine.
setDefaultTimeout(60_000);

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const log = { info: () => {}, warn: () => {}, error: () => {} };
const event = (name: EventEnvelope['name'], n = 0): EventEnvelope => ({
  id: crypto.randomUUID(),
  name,
  version: 1,
  at: new Date().toISOString(),
  actor: 'system',
  subject: 'test',
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  data: { n, text: 'ünïcødé 🎓' },
});
const until = (condition: () => boolean | Promise<boolean>, ms = 8_000) => eventually(condition, ms);
const numberOf = (content: string) => (JSON.parse(content) as { data: { n: number } }).data.n;

/** Queues of its own for every suite; nobody else publishes to them. */
const names = () => {
  const id = crypto.randomUUID().slice(0, 8);
  const one = `test.${id}.one`;
  const two = `test.${id}.two`;
  const topology: Topology = { [one]: ['user.registered', 'user.verified'], [two]: ['user.registered'] };
  return { one, two, topology, exchange: `test.${id}` };
};
type Names = ReturnType<typeof names>;

function contract(own: Names, open: () => Promise<EventBus>) {
  let bus: EventBus;
  const subscriptions: Subscription[] = [];
  beforeAll(async () => {
    bus = await open();
    await until(() =>
      bus.ready().then(
        () => true,
        () => false,
      ),
    );
  });
  afterEach(async () => {
    for (const subscription of subscriptions.splice(0)) await subscription.stop();
    for (const queue of [own.one, own.two, `${own.one}.dead`]) await drain(queue);
  });
  afterAll(() => bus?.close());

  const consume = async (...args: Parameters<EventBus['consume']>) => {
    const subscription = await bus.consume(...args);
    subscriptions.push(subscription);
    return subscription;
  };
  const drain = async (queue: string) => {
    let last = Date.now();
    const subscription = await bus.consume(queue, async () => {
      last = Date.now();
    });
    await until(() => Date.now() - last > 60);
    await subscription.stop();
  };

  test('an event reaches every queue bound to its name, as the JSON that was published', async () => {
    const [one, two]: string[][] = [[], []];
    await consume(own.one, async ({ content }) => void one!.push(content));
    await consume(own.two, async ({ content }) => void two!.push(content));
    const [registered, verified] = [event('user.registered'), event('user.verified')];
    await bus.publish(registered);
    await bus.publish(verified);
    await until(() => one!.length === 2 && two!.length === 1);
    expect(one!.map((text) => JSON.parse(text))).toEqual([registered, verified]);
    expect(JSON.parse(two![0]!)).toEqual(registered);
  });

  test('events wait for a consumer, and come in order', async () => {
    for (let n = 0; n < 300; n++) await bus.publish(event('user.verified', n));
    const seen: number[] = [];
    await consume(own.one, async ({ content, redelivered }) => {
      expect(redelivered).toBe(false);
      seen.push(numberOf(content));
    });
    await until(() => seen.length === 300);
    expect(seen).toEqual(Array.from({ length: 300 }, (_, n) => n));
  });

  test('many published at once all arrive, each once', async () => {
    const seen: number[] = [];
    await consume(own.one, async ({ content }) => void seen.push(numberOf(content)), { prefetch: 50 });
    await Promise.all(Array.from({ length: 500 }, (_, n) => bus.publish(event('user.verified', n))));
    await until(() => seen.length >= 500);
    await sleep(50);
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, n) => n));
  });

  test('an event that no queue wants is refused', async () => {
    await expect(bus.publish(event('course.created'))).rejects.toThrow('No queue is bound');
    await bus.publish(event('user.verified'));
  });

  test('a rejected message comes again, marked so, and does not hold up the others', async () => {
    const seen: [number, boolean][] = [];
    await consume(own.one, async ({ content, redelivered }) => {
      seen.push([numberOf(content), redelivered]);
      if (seen.filter(([n]) => n === 1).length < 3 && numberOf(content) === 1) throw new Error('not now');
    });
    for (const n of [1, 2, 3]) await bus.publish(event('user.verified', n));
    await until(() => seen.length === 5);
    expect(seen.filter(([n]) => n === 1)).toEqual([
      [1, false],
      [1, true],
      [1, true],
    ]);
    expect(seen.slice(0, 3).map(([n]) => n)).toEqual([1, 2, 3]);
  });

  test('what is rejected too often lands in the dead-letter queue', async () => {
    const dead: string[] = [];
    let tries = 0;
    await consume(own.one, async () => {
      tries++;
      throw new Error('never');
    });
    await consume(`${own.one}.dead`, async ({ content }) => void dead.push(content));
    const poison = event('user.verified');
    await bus.publish(poison);
    await until(() => dead.length === 1);
    expect(JSON.parse(dead[0]!)).toEqual(poison);
    expect(tries).toBe(3);
  });

  test('no more than `prefetch` are in hand; two consumers share a queue', async () => {
    let [inHand, most, done] = [0, 0, 0];
    const slow = async () => {
      most = Math.max(most, ++inHand);
      await sleep(20);
      inHand--;
      done++;
    };
    await consume(own.one, slow, { prefetch: 2 });
    await consume(own.one, slow, { prefetch: 1 });
    await Promise.all(Array.from({ length: 20 }, () => bus.publish(event('user.verified'))));
    await until(() => done === 20);
    expect(most).toBe(3);
  });

  test('stop waits for what is in hand; the rest stays for the next', async () => {
    let [started, finished] = [0, 0];
    const subscription = await consume(
      own.one,
      async () => {
        started++;
        await sleep(100);
        finished++;
      },
      { prefetch: 2 },
    );
    for (let n = 0; n < 5; n++) await bus.publish(event('user.verified', n));
    await until(() => started === 2);
    await subscription.stop();
    expect(finished).toBe(2);
    const rest: number[] = [];
    await consume(own.one, async ({ content }) => void rest.push(numberOf(content)));
    await until(() => rest.length === 3);
    await sleep(50);
    expect(rest.sort()).toEqual([2, 3, 4]);
  });
}

describe('in process', () => {
  const own = names();
  let server: PgliteServer;
  const open = async () => {
    server ??= await openPglite(undefined);
    return openInProcessBus({
      db: await server.database<BusTables>('bus'),
      log,
      topology: own.topology,
      deliveryLimit: 2,
    });
  };
  contract(own, open);
  afterAll(() => server?.close());

  test('handlers run outside the async context of the publisher', async () => {
    const { AsyncLocalStorage } = await import('node:async_hooks');
    const store = new AsyncLocalStorage<string>();
    const bus = await open();
    const seen: unknown[] = [];
    await bus.consume(own.one, async () => void seen.push(store.getStore()));
    await store.run('publisher', () => bus.publish(event('user.verified')));
    await until(() => seen.length === 1);
    expect(seen).toEqual([undefined]);
    await bus.close();
  });

  test('kill -9 loses nothing that was published', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'lyceum-bus-'));
    const here = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);
    const child = spawn(
      process.execPath,
      [
        '-e',
        `
        const { openPglite } = await import(${here('../database/pglite.ts')});
        const { openInProcessBus } = await import(${here('./in-process.ts')});
        const db = await (await openPglite(${JSON.stringify(dir)})).database('bus');
        const log = { error() {} };
        const bus = await openInProcessBus({ db, log, topology: ${JSON.stringify(own.topology)} });
        await bus.consume(${JSON.stringify(own.one)}, () => new Promise(() => {}));
        for (let n = 0; ; n++) {
          await bus.publish({ ...${JSON.stringify(event('user.verified'))}, data: { n } });
          console.log(n);
        }`,
      ],
      { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let last = -1;
    child.stdout.on('data', (text: Buffer) => {
      last = Number(text.toString().trim().split('\n').at(-1));
    });
    await until(() => last > 40, 40_000);
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    const again = await openPglite(dir);
    const bus = await openInProcessBus({
      db: await again.database<BusTables>('bus'),
      log,
      topology: own.topology,
    });
    const seen: number[] = [];
    await bus.consume(own.one, async ({ content, redelivered }) => {
      expect(redelivered).toBe(true);
      seen.push(numberOf(content));
    });
    await until(() => seen.length > last);
    expect(seen.slice(0, last + 1)).toEqual(Array.from({ length: last + 1 }, (_, n) => n));
    await bus.close();
    await again.close();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);
});

const rabbitmq = await realServer('rabbitmq');
describe.skipIf(rabbitmq === undefined)('RabbitMQ (skipped without the real server)', () => {
  if (rabbitmq === undefined) return;
  const own = names();
  const options = (url: string) => ({
    url,
    log,
    topology: own.topology,
    exchange: own.exchange,
    deliveryLimit: 2,
  });
  contract(own, () => openRabbitmq(options(rabbitmq.url)));

  afterAll(async () => {
    const { connect } = await import('amqplib');
    const connection = await connect(rabbitmq.url);
    const channel = await connection.createChannel();
    for (const queue of [own.one, own.two]) {
      await channel.deleteQueue(queue);
      await channel.deleteQueue(`${queue}.dead`);
    }
    await channel.deleteExchange(own.exchange);
    await connection.close();
  });

  test('a cut connection rejects what was on its way, and everything goes on by itself', async () => {
    const way = await tcpProxy(rabbitmq.url);
    const bus = await openRabbitmq(options(way.url));
    await until(() =>
      bus.ready().then(
        () => true,
        () => false,
      ),
    );
    const seen = new Set<number>();
    await bus.consume(own.one, async ({ content }) => void seen.add(numberOf(content)));
    let failures = 0;
    for (let n = 0; n < 60; n++) {
      if (n % 20 === 10) way.cut();
      for (;;) {
        try {
          await bus.publish(event('user.verified', n));
          break;
        } catch (error) {
          expect(isUnavailable(error)).toBe(true);
          failures++;
          await sleep(50);
        }
      }
    }
    expect(failures).toBeGreaterThan(0);
    await until(() => seen.size === 60);
    await bus.close();
    way.close();
  }, 30_000);

  test('a frozen broker: publish rejects after 5 s, and it comes back', async () => {
    const way = await tcpProxy(rabbitmq.url);
    const bus = await openRabbitmq(options(way.url));
    await until(() =>
      bus.ready().then(
        () => true,
        () => false,
      ),
    );
    way.freeze(true);
    const started = performance.now();
    expect(await bus.publish(event('user.verified')).then(() => false, isUnavailable)).toBe(true);
    expect(performance.now() - started).toBeLessThan(6_000);
    expect(await bus.ready().then(() => false, isUnavailable)).toBe(true);
    way.freeze(false);
    await until(
      () =>
        bus.publish(event('user.verified')).then(
          () => true,
          () => false,
        ),
      15_000,
    );
    await bus.close();
    way.close();
  }, 40_000);
});

describe('RabbitMQ that is away', () => {
  test('opens all the same, refuses at once, closes', async () => {
    const bus = await openRabbitmq({ url: 'amqp://127.0.0.1:1', log });
    const subscription = await bus.consume('auth.profiles', async () => {});
    const started = performance.now();
    expect(await bus.publish(event('user.verified')).then(() => false, isUnavailable)).toBe(true);
    expect(await bus.ready().then(() => false, isUnavailable)).toBe(true);
    expect(performance.now() - started).toBeLessThan(100);
    await subscription.stop();
    await bus.close();
  });
});
