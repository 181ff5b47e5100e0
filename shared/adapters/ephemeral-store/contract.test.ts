import { afterAll, describe, expect, test } from 'bun:test';
import { createServer } from 'node:net';
import { isUnavailable } from '../../errors.ts';
import type { EphemeralStore } from '../../ports/ephemeral-store.ts';
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
});
