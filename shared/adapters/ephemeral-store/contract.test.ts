import { afterAll, describe, expect, test } from 'bun:test';
import { createServer } from 'node:net';
import { Redis } from 'ioredis';
import { isUnavailable } from '../../errors.ts';
import type { EphemeralStore } from '../../ports/ephemeral-store.ts';
import { eventually } from '../../testing/eventually.ts';
import { realServer } from '../../testing/servers.ts';
import { tcpProxy } from '../../testing/tcp-proxy.ts';
import { openMemoryStore } from './memory.ts';
import { openRedis } from './redis.ts';

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const log = { warn: () => {} };
/** Keys run out by themselves, so nothing is left to clean up. */
const key = () => `test:${crypto.randomUUID()}`;

function contract(store: EphemeralStore, second: EphemeralStore) {
  afterAll(async () => {
    await store.close();
    await second.close();
  });

  test('keeps values for their time', async () => {
    const [a, b, none] = [key(), key(), key()];
    await store.set(a, 'ä', 60_000);
    await store.set(b, '', 50);
    expect(await store.getMany([a, none, b])).toEqual(['ä', null, '']);
    await sleep(80);
    expect(await store.get(b)).toBeNull();
    await store.delete(a);
    expect(await store.get(a)).toBeNull();
    expect(await store.getMany([])).toEqual([]);
  });

  test('a bucket gives what it holds, then refills', async () => {
    const bucket = { capacity: 3, perSecond: 20 };
    const name = key();
    expect(await store.takeTokens(name, bucket)).toEqual({ allowed: true, remaining: 2, resetMs: 50 });
    await store.takeTokens(name, { ...bucket, cost: 2 });
    const refused = await store.takeTokens(name, bucket);
    expect(refused).toMatchObject({ allowed: false, remaining: 0 });
    expect(refused.resetMs).toBeGreaterThan(0);
    expect(refused.resetMs).toBeLessThanOrEqual(50);
    await sleep(refused.resetMs + 5);
    expect((await store.takeTokens(name, bucket)).allowed).toBe(true);
    await sleep(200);
    expect((await store.takeTokens(name, { ...bucket, cost: 3 })).allowed).toBe(true);
  });

  test('many buckets in one call, each as if it had been asked alone', async () => {
    const [a, b] = [key(), key()];
    const bucket = { capacity: 2, perSecond: 0.01 };
    const answers = await store.takeTokensMany([
      { key: a, ...bucket },
      { key: b, ...bucket, cost: 2 },
      { key: a, ...bucket },
      { key: a, ...bucket },
      { key: b, capacity: 10, perSecond: 0.01, cost: 3 },
    ]);
    expect(answers.map(({ allowed }) => allowed)).toEqual([true, true, true, false, true]);
    expect(answers.map(({ tokens }) => Math.round(tokens * 10) / 10)).toEqual([1, 0, 0, 0, 5]);
    expect(await store.takeTokensMany([])).toEqual([]);
    const thousand = await store.takeTokensMany(
      Array.from({ length: 1_201 }, (_, i) => ({ key: `${a}:${i % 1_200}`, ...bucket })),
    );
    expect(thousand.map(({ tokens }) => Math.round(tokens))).toEqual([...Array(1_200).fill(1), 0]);
  });

  test('what was let through already is taken by force, up to a debt of one capacity', async () => {
    const name = key();
    const bucket = { key: name, capacity: 4, perSecond: 10 };
    const tokens = async (cost: number) =>
      Math.round((await store.takeTokensMany([{ ...bucket, cost, force: true }]))[0]!.tokens);
    expect(await tokens(3)).toBe(1);
    expect(await tokens(3)).toBe(-2);
    expect(await tokens(100)).toBe(-4);
    expect(await store.takeTokens(name, bucket)).toMatchObject({ allowed: false, remaining: 0 });
    await sleep(520);
    expect((await store.takeTokens(name, bucket)).allowed).toBe(true);
  });

  test('tokens can be given back, and a deleted bucket is full', async () => {
    const name = key();
    const bucket = { key: name, capacity: 5, perSecond: 0.01 };
    await store.takeTokens(name, { ...bucket, cost: 4 });
    const given = await store.takeTokensMany([{ ...bucket, cost: -2 }]);
    expect(Math.round(given[0]!.tokens)).toBe(3);
    expect(Math.round((await store.takeTokensMany([{ ...bucket, cost: -9 }]))[0]!.tokens)).toBe(5);
    await store.takeTokens(name, { ...bucket, cost: 5 });
    await store.delete(name);
    expect((await store.takeTokens(name, bucket)).remaining).toBe(4);
  });

  test('two processes together get no more than the bucket holds', async () => {
    const name = key();
    const all = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        (i % 2 ? store : second).takeTokens(name, { capacity: 10, perSecond: 0.01 }),
      ),
    );
    expect(all.filter((decision) => decision.allowed)).toHaveLength(10);
  });

  test('members come, stay when touched, go, and run out', async () => {
    const set = key();
    expect(await store.touchMember(set, 'a', 60_000)).toBe(true);
    expect(await second.touchMember(set, 'a', 60_000)).toBe(false);
    expect(await store.touchMember(set, 'b', 60)).toBe(true);
    expect((await second.members(set)).sort()).toEqual(['a', 'b']);
    await sleep(100);
    expect(await store.members(set)).toEqual(['a']);
    expect(await store.removeMember(set, 'b')).toBe(false);
    expect(await store.touchMember(set, 'b', 60_000)).toBe(true);
    expect(await store.removeMember(set, 'a')).toBe(true);
    expect(await store.removeMember(set, 'a')).toBe(false);
    expect(await store.members(set)).toEqual(['b']);
    expect(await store.members(key())).toEqual([]);
  });

  test('listeners hear what is published, until they stop', async () => {
    const channel = key();
    const heard: string[] = [];
    const stopOne = await second.subscribe(channel, (message) => heard.push(`1:${message}`));
    const stopTwo = await second.subscribe(channel, (message) => heard.push(`2:${message}`));
    await sleep(50);
    await store.publish(channel, 'hello');
    await sleep(50);
    expect(heard.sort()).toEqual(['1:hello', '2:hello']);
    await stopOne();
    await store.publish(channel, 'again');
    await sleep(50);
    await stopTwo();
    await store.publish(channel, 'unheard');
    await sleep(50);
    expect(heard).toEqual(['1:hello', '2:hello', '2:again']);
  });

  test('is ready', async () => {
    await store.ready();
  });
}

describe('memory', () => {
  const store = openMemoryStore();
  contract(store, store);
});

const redis = await realServer('redis');
describe.skipIf(redis === undefined)('Redis (skipped without the real server)', () => {
  if (redis === undefined) return;
  contract(openRedis({ url: redis.url, log }), openRedis({ url: redis.url, log }));

  test('a Redis that has forgotten our scripts gets them again', async () => {
    const store = openRedis({ url: redis.url, log });
    const admin = new Redis(redis.url);
    const name = key();
    await store.takeTokens(name, { capacity: 3, perSecond: 0.01 });
    await admin.script('FLUSH');
    const [first, second] = await Promise.all([
      store.takeTokens(name, { capacity: 3, perSecond: 0.01 }),
      store.takeTokensMany([{ key: name, capacity: 3, perSecond: 0.01 }]),
    ]);
    expect([first.remaining, Math.round(second[0]!.tokens)]).toEqual([1, 0]);
    admin.disconnect();
    await store.close();
  });

  test('what an older version left at the key of a bucket counts as a full one', async () => {
    const store = openRedis({ url: redis.url, log });
    const admin = new Redis(redis.url);
    const name = key();
    await admin.hset(name, { tokens: '1', at: '0' });
    expect((await store.takeTokens(name, { capacity: 3, perSecond: 0.01 })).remaining).toBe(2);
    expect((await store.takeTokens(name, { capacity: 3, perSecond: 0.01 })).remaining).toBe(1);
    admin.disconnect();
    await store.close();
  });
});

describe('Redis that is not well', () => {
  test('away from the start: every command is refused within about a second', async () => {
    const store = openRedis({ url: 'redis://127.0.0.1:1', log });
    const started = performance.now();
    const outcomes = await Promise.all(
      [
        store.get('x'),
        store.ready(),
        store.takeTokens('x', { capacity: 1, perSecond: 1 }),
        store.publish('x', 'y'),
      ].map((one) => one.then(() => false, isUnavailable)),
    );
    expect(outcomes).toEqual([true, true, true, true]);
    expect(performance.now() - started).toBeLessThan(1_500);
    await store.close();
  });

  test('frozen: it accepts and never answers', async () => {
    const mute = createServer(() => {}).listen(0);
    await new Promise((resolve) => mute.once('listening', resolve));
    const store = openRedis({ url: `redis://127.0.0.1:${(mute.address() as { port: number }).port}`, log });
    const started = performance.now();
    expect(await store.get('x').then(() => false, isUnavailable)).toBe(true);
    expect(performance.now() - started).toBeLessThan(1_500);
    await store.close();
    mute.close();
  });

  test.skipIf(redis === undefined)('connections cut: commands and subscriptions come back', async () => {
    const way = await tcpProxy(redis!.url);
    const store = openRedis({ url: way.url, log });
    const other = openRedis({ url: redis!.url, log });
    const heard: string[] = [];
    const channel = key();
    await store.ready();
    await store.subscribe(channel, (message) => heard.push(message));
    way.cut();
    await sleep(1_000);
    await other.publish(channel, 'after');
    await sleep(100);
    expect(heard).toEqual(['after']);
    expect(await store.get('x')).toBeNull();
    await store.close();
    await other.close();
    way.close();
  });

  test.skipIf(redis === undefined)('stalled: nothing hangs, however much waits, and it goes on', async () => {
    const way = await tcpProxy(redis!.url);
    const store = openRedis({ url: way.url, log });
    const other = openRedis({ url: redis!.url, log });
    const heard: string[] = [];
    const channel = key();
    await store.ready();
    await store.subscribe(channel, (message) => heard.push(message));
    way.stall(true);
    const started = performance.now();
    const outcomes: Promise<boolean>[] = [];
    // In turns, so that they are not all written as one batch.
    for (let turn = 0; turn < 10; turn++) {
      outcomes.push(store.get('x').then(() => false, isUnavailable));
      await sleep(20);
    }
    expect(await Promise.all(outcomes)).toEqual(Array(10).fill(true));
    expect(performance.now() - started).toBeLessThan(1_800);
    const late = key();
    const stop = await store.subscribe(late, (message) => heard.push(message));
    way.stall(false);
    await eventually(
      () =>
        store.get('x').then(
          () => true,
          () => false,
        ),
      10_000,
    );
    await other.publish(channel, 'after');
    await other.publish(late, 'late');
    await eventually(async () => heard.includes('after') && heard.includes('late'), 10_000);
    way.stall(true);
    await stop();
    way.stall(false);
    // Late answers went to those who had asked, not to those who ask now.
    await store.set(channel, 'own', 5_000);
    expect(await store.get(channel)).toBe('own');
    await store.close();
    await other.close();
    way.close();
  });

  test.skipIf(redis === undefined)(
    'a connection on which no answer comes is given up for a new one',
    async () => {
      const way = await tcpProxy(redis!.url);
      const store = openRedis({ url: way.url, log });
      const other = openRedis({ url: redis!.url, log });
      const heard: string[] = [];
      const channel = key();
      await store.ready();
      await store.subscribe(channel, (message) => heard.push(message));
      // What is sent now is lost for good, as with a peer that is no longer there.
      way.freeze(true);
      await store.get('x').catch(() => {});
      await sleep(8_500);
      way.freeze(false);
      await eventually(
        () =>
          store.get('x').then(
            () => true,
            () => false,
          ),
        10_000,
      );
      await eventually(async () => {
        await other.publish(channel, 'after');
        return heard.includes('after');
      }, 10_000);
      await store.close();
      await other.close();
      way.close();
    },
  );
});
