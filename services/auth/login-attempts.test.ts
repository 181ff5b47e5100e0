import { afterAll, describe, expect, test } from 'bun:test';
import { openMemoryStore } from '../../shared/adapters/ephemeral-store/memory.ts';
import { openRedis } from '../../shared/adapters/ephemeral-store/redis.ts';
import { Problem } from '../../shared/errors.ts';
import type { EphemeralStore } from '../../shared/ports/ephemeral-store.ts';
import { realServer } from '../../shared/testing/servers.ts';
import { tcpProxy } from '../../shared/testing/tcp-proxy.ts';
import { createLoginAttempts, type LoginAttempts } from './login-attempts.ts';

const redis = await realServer('redis');
const log = { warn: () => {} };
const closings: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closings) await close();
});

let counter = 0;
const email = () => `${crypto.randomUUID()}@school.example`;
/** Of a network of its own, so that tests don't count against each other. */
const address = () => `10.${counter >> 8}.${counter++ & 255}.${Math.floor(Math.random() * 250)}`;

type Outcome = 'right' | 'wrong' | number;
async function attempt(attempts: LoginAttempts, who: string, ip: string, right = false): Promise<Outcome> {
  try {
    return (await attempts.guard(who, ip, async () => (right ? 'owner' : undefined))) ? 'right' : 'wrong';
  } catch (error) {
    if (error instanceof Problem && error.code === 'rate-limited') return error.retryAfter!;
    throw error;
  }
}
const many = (count: number, one: () => Promise<Outcome>): Promise<Outcome[]> =>
  Promise.all(Array.from({ length: count }, one));
const count = (outcomes: Outcome[], what: Outcome): number => outcomes.filter((one) => one === what).length;

function limits(store: EphemeralStore) {
  const attempts = createLoginAttempts({ store, scale: 1 });
  const second = createLoginAttempts({ store, scale: 1 });

  test('guesses made at once, and to different processes, count together', async () => {
    const [who, ip] = [email(), address()];
    const outcomes = await Promise.all([
      many(20, () => attempt(attempts, who, ip)),
      many(20, () => attempt(second, who, address())),
    ]);
    expect(count(outcomes.flat(), 'wrong')).toBe(10);
    const wait = await attempt(attempts, who, address());
    expect(wait).toBeGreaterThan(80);
    expect(wait).toBeLessThanOrEqual(90);
  });

  test('a right password clears what was counted, and is not counted itself', async () => {
    const [who, ip] = [email(), address()];
    for (let turn = 0; turn < 4; turn++) {
      expect(count(await many(8, () => attempt(attempts, who, ip)), 'wrong')).toBe(8);
      expect(await attempt(second, who, ip, true)).toBe('right');
    }
    for (let turn = 0; turn < 30; turn++) expect(await attempt(attempts, who, ip, true)).toBe('right');
  });

  test('one address may not try every account, and closes none by trying', async () => {
    const ip = address();
    const outcomes = await many(250, () => attempt(attempts, email(), ip));
    expect(count(outcomes, 'wrong')).toBe(200);
    const owner = email();
    for (let turn = 0; turn < 15; turn++) {
      const wait = await attempt(attempts, owner, ip);
      expect(wait).toBeLessThanOrEqual(6);
    }
    expect(await attempt(attempts, owner, address(), true)).toBe('right');
  });

  test('a check that could not be made counts for nothing', async () => {
    const [who, ip] = [email(), address()];
    for (let turn = 0; turn < 15; turn++) {
      const broken = attempts.guard(who, ip, () => Promise.reject(new Error('no database')));
      await expect(broken).rejects.toThrow('no database');
    }
    expect(await attempt(attempts, who, ip)).toBe('wrong');
  });

  test('the limits scale', async () => {
    const who = email();
    const loose = createLoginAttempts({ store, scale: 3 });
    expect(count(await many(40, () => attempt(loose, who, address())), 'wrong')).toBe(30);
  });
}

describe('login attempts in memory', () => limits(openMemoryStore()));

describe.skipIf(redis === undefined)('login attempts in Redis (skipped without the real server)', () => {
  if (redis === undefined) return;
  const store = openRedis({ url: redis.url, log });
  closings.push(() => store.close());
  limits(store);

  for (const state of ['is cut off', 'does not answer'] as const) {
    test(`while Redis ${state}, each process counts alone and nobody waits for long`, async () => {
      const way = await tcpProxy(redis.url);
      const own = openRedis({ url: way.url, log });
      await own.ready();
      const attempts = createLoginAttempts({ store: own, scale: 1 });
      const [who, ip] = [email(), address()];
      if (state === 'is cut off') way.close();
      else way.stall(true);
      const started = performance.now();
      const outcomes = await many(30, () => attempt(attempts, who, ip));
      expect(count(outcomes, 'wrong')).toBe(10);
      expect(await attempt(attempts, who, ip, true)).toBeGreaterThan(0);
      expect(performance.now() - started).toBeLessThan(3_000);
      way.stall(false);
      way.close();
      await own.close();
    });
  }
});
