import { afterEach, describe, expect, test } from 'bun:test';
import { openMemoryStore } from '../../shared/adapters/ephemeral-store/memory.ts';
import { openRedis } from '../../shared/adapters/ephemeral-store/redis.ts';
import type { Caller } from '../../shared/auth/tokens.ts';
import { Problem } from '../../shared/errors.ts';
import { silentLog } from '../../shared/observability/log.ts';
import { createMetrics } from '../../shared/observability/metrics.ts';
import type { EphemeralStore } from '../../shared/ports/ephemeral-store.ts';
import { realServer } from '../../shared/testing/servers.ts';
import { tcpProxy } from '../../shared/testing/tcp-proxy.ts';
import { gatewayMetrics } from '../metrics.ts';
import { createRouteTable, RATE_CLASSES, type RateClass, rateClassOf } from '../routes.ts';
import { eventually, LEARNER, sleep } from '../testing.ts';
import { createRateLimiter, type LimitDecision, type RateLimiter } from './rate-limit.ts';

const redis = await realServer('redis');
const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

type Limiter = RateLimiter & { metrics: ReturnType<typeof gatewayMetrics> };
function limiterOn(store: EphemeralStore, options: { scale?: number; storeMs?: number } = {}): Limiter {
  const metrics = gatewayMetrics(createMetrics('gateway'));
  const limiter = createRateLimiter({ store, scale: 1, storeMs: 50, metrics, log: silentLog, ...options });
  closings.push(() => limiter.close());
  return { ...limiter, metrics };
}

/** What the store is asked, and how long it takes. */
function watched(store: EphemeralStore) {
  const seen = { calls: 0, requests: 0, delayMs: 0, broken: undefined as undefined | 'fails' | 'hangs' };
  const broken = (): Promise<never> =>
    seen.broken === 'fails' ? Promise.reject(new Error('away')) : new Promise<never>(() => {});
  const watching: EphemeralStore = {
    ...store,
    async takeTokensMany(requests) {
      seen.calls++;
      seen.requests += requests.length;
      if (seen.broken) return broken();
      if (seen.delayMs > 0) await sleep(seen.delayMs);
      return store.takeTokensMany(requests);
    },
    ready: () => (seen.broken ? broken() : store.ready()),
  };
  return { store: watching, seen };
}

const rateClass = (over: Partial<RateClass> = {}): RateClass => ({
  // Its own bucket in a Redis that others use too.
  name: `test-${crypto.randomUUID()}`,
  perAddress: { capacity: 10, perSecond: 0.01 },
  ...over,
});
const user = (id: string): Caller => ({ ...LEARNER, userId: id });
const IP = '203.0.113.9';

const decideMany = async (limiter: RateLimiter, of: RateClass, count: number): Promise<LimitDecision[]> =>
  Promise.all(Array.from({ length: count }, () => limiter.decide(of, undefined, IP)));
const allowed = (decisions: LimitDecision[]): number => decisions.filter((one) => one.allowed).length;

describe('a decision', () => {
  test('says what is left and when there is more', async () => {
    const limiter = limiterOn(openMemoryStore());
    const of = rateClass({ perAddress: { capacity: 3, perSecond: 0.1 } });
    const first = await limiter.decide(of, undefined, IP);
    expect(first).toEqual({ allowed: true, limit: 3, remaining: 2, resetSeconds: 10 });
    await limiter.decide(of, undefined, IP);
    const third = await limiter.decide(of, undefined, IP);
    expect(third).toEqual({ allowed: true, limit: 3, remaining: 0, resetSeconds: 30 });
    const refused = await limiter.decide(of, undefined, IP);
    expect(refused).toEqual({ allowed: false, limit: 3, remaining: 0, resetSeconds: 10 });
  });

  test('comes back as tokens do', async () => {
    const limiter = limiterOn(openMemoryStore());
    const of = rateClass({ perAddress: { capacity: 2, perSecond: 10 } });
    expect(allowed(await decideMany(limiter, of, 5))).toBe(2);
    await sleep(130);
    expect(allowed(await decideMany(limiter, of, 5))).toBe(1);
  });

  test('for a hot client waits for nothing, and what it took is settled in batches', async () => {
    const { store, seen } = watched(openMemoryStore());
    const limiter = limiterOn(store);
    const of = rateClass({ perAddress: { capacity: 1_000_000, perSecond: 1 } });
    for (let turn = 0; turn < 200; turn++) {
      for (let i = 0; i < 50; i++) expect(limiter.decide(of, undefined, IP)).not.toBeInstanceOf(Promise);
      await sleep(1);
    }
    await sleep(100);
    // 10,000 requests of one client over 0.2 s and more.
    expect(seen.calls).toBeLessThan(150);
    expect(seen.requests).toBe(seen.calls);
    const [answer] = await store.takeTokensMany([
      { key: `limit:${of.name}:address:${IP}`, ...of.perAddress, cost: 0 },
    ]);
    expect(Math.round(answer!.tokens)).toBe(990_000);
  });

  test('for a bucket known to be empty is made without asking', async () => {
    const { store, seen } = watched(openMemoryStore());
    const limiter = limiterOn(store);
    for (const strict of [false, true]) {
      const of = rateClass({ strict });
      await decideMany(limiter, of, 30);
      await sleep(50);
      const { calls } = seen;
      for (let i = 0; i < 1_000; i++)
        expect(limiter.decide(of, undefined, IP)).toMatchObject({ allowed: false });
      await sleep(50);
      expect(seen.calls).toBe(calls);
    }
  });

  test('in a strict class is the store’s, unless it does not answer', async () => {
    const { store, seen } = watched(openMemoryStore());
    const limiter = limiterOn(store);
    const of = rateClass({ strict: true, perAddress: { capacity: 1_000, perSecond: 1 } });
    for (let i = 1; i <= 5; i++) {
      const decision = limiter.decide(of, undefined, IP);
      expect(decision).toBeInstanceOf(Promise);
      expect((await decision).remaining).toBe(1_000 - i);
    }
    expect(seen.calls).toBe(5);
    // Those of one moment ask together.
    await decideMany(limiter, of, 40);
    expect(seen.calls).toBe(6);
  });

  test('goes by user where there is one and the class has a bucket for users, else by address', async () => {
    const limiter = limiterOn(openMemoryStore());
    const both = rateClass({ perUser: { capacity: 1, perSecond: 0.01 } });
    expect((await limiter.decide(both, user('a'), IP)).allowed).toBe(true);
    expect((await limiter.decide(both, user('a'), '203.0.113.10')).allowed).toBe(false);
    expect((await limiter.decide(both, user('b'), IP)).allowed).toBe(true);
    expect((await limiter.decide(both, undefined, IP)).limit).toBe(10);
    const addressOnly = rateClass();
    expect((await limiter.decide(addressOnly, user('a'), IP)).remaining).toBe(9);
    expect((await limiter.decide(addressOnly, user('b'), IP)).remaining).toBe(8);
    // Another class is another bucket.
    expect((await limiter.decide(rateClass(), undefined, IP)).remaining).toBe(9);
  });

  test('of a route that names a bucket of its own leaves the class of the others alone', async () => {
    const limiter = limiterOn(openMemoryStore());
    const own = rateClass({ perAddress: { capacity: 1, perSecond: 0.01 } });
    const row = { upstream: 'content', token: 'none', body: 'json', bodyLimit: 0 } as const;
    const { find } = createRouteTable(
      [
        { ...row, name: 'search', pattern: '/api/content/search', limit: own },
        { ...row, name: 'rest', pattern: '/api/content/**' },
      ],
      { firstByteMs: 1_000 },
    );
    const get = (path: string) => limiter.decide(rateClassOf(find('GET', path), 'GET'), undefined, IP);
    expect((await get('/api/content/search')).allowed).toBe(true);
    expect((await get('/api/content/search')).allowed).toBe(false);
    expect((await get('/api/content/courses')).limit).toBe(RATE_CLASSES.read.perAddress.capacity);
    for (const limit of [{ ...own, name: 'login' }, 'nonsense' as 'login']) {
      const wrong = () =>
        createRouteTable([{ ...row, name: 'x', pattern: '/api/x', limit }], { firstByteMs: 1 });
      expect(wrong).toThrow('limit');
    }
  });

  test('counts IPv6 by /64', async () => {
    const limiter = limiterOn(openMemoryStore());
    const of = rateClass();
    expect((await limiter.decide(of, undefined, '2001:db8::1')).remaining).toBe(9);
    expect((await limiter.decide(of, undefined, '2001:db8:0:0:ffff::2')).remaining).toBe(8);
    expect((await limiter.decide(of, undefined, '2001:db8:0:1::1')).remaining).toBe(9);
  });

  test('is not forgotten when the limiter is closed or replaced', async () => {
    const store = openMemoryStore();
    const [old, next] = [limiterOn(store), limiterOn(store)];
    const of = rateClass({ perAddress: { capacity: 100, perSecond: 0.01 } });
    for (let i = 0; i < 5; i++) old.decide(of, undefined, IP);
    old.close();
    await sleep(10);
    expect((await next.decide({ ...of, strict: true }, undefined, IP)).remaining).toBe(94);
    expect(old.decide(of, undefined, IP)).toMatchObject({ allowed: true });
  });

  test('scales', async () => {
    const of = rateClass();
    expect((await limiterOn(openMemoryStore(), { scale: 1_000 }).decide(of, undefined, IP)).limit).toBe(
      10_000,
    );
    // Never to nothing.
    expect((await limiterOn(openMemoryStore(), { scale: 0.001 }).decide(of, undefined, IP)).limit).toBe(1);
  });

  test('is told in headers, and a refusal thrown', async () => {
    const limiter = limiterOn(openMemoryStore());
    const of = rateClass({ perAddress: { capacity: 1, perSecond: 0.05 } });
    const headers: Record<string, string> = {};
    const subject = {
      caller: undefined,
      address: IP,
      setHeader: (name: string, value: string) => {
        headers[name] = value;
      },
    };
    await limiter.take(subject, of);
    expect(headers).toEqual({ 'ratelimit-limit': '1', 'ratelimit-remaining': '0', 'ratelimit-reset': '20' });
    const refusal = await (async () => limiter.take(subject, of))().catch((error) => error);
    expect(refusal).toBeInstanceOf(Problem);
    expect([refusal.code, refusal.retryAfter]).toEqual(['rate-limited', 20]);
    expect(limiter.blockedSeconds(of, IP)).toBe(20);
    expect(limiter.blockedSeconds(of, '203.0.113.10')).toBe(0);
    expect(limiter.blockedSeconds(rateClass(), IP)).toBe(0);
  });

  test('is counted by class, outcome and who counted', async () => {
    const { store, seen } = watched(openMemoryStore());
    const limiter = limiterOn(store);
    const of = rateClass();
    await decideMany(limiter, of, 12);
    const lines = async () =>
      (await limiter.metrics.registry.metrics())
        .split('\n')
        .filter((line) => line.includes(of.name))
        .map((line) => line.replace(/.*outcome="(\w+)",store="(\w+)".* (\d+)$/, '$1 $2 $3'))
        .sort();
    await eventually(async () => (await lines()).length === 2);
    expect(await lines()).toEqual(['allowed shared 10', 'refused shared 2']);
    seen.broken = 'fails';
    const other = { ...of, perAddress: { capacity: 2, perSecond: 0.01 } };
    await limiter.decide(rateClass({ strict: true }), undefined, IP);
    await decideMany(limiter, other, 5);
    await eventually(async () => (await lines()).length === 4);
    expect(await lines()).toEqual([
      'allowed local 2',
      'allowed shared 10',
      'refused local 3',
      'refused shared 2',
    ]);
  });

  test('remembers no more clients than it may', async () => {
    const limiter = limiterOn(openMemoryStore());
    const of = rateClass({ perAddress: { capacity: 100, perSecond: 0.01 } });
    for (let i = 0; i < 60_000; i++)
      limiter.decide(of, undefined, `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
    await sleep(200);
    // The first of them is forgotten here, not in the store: it is taken in hand again with what it has used.
    await limiter.decide(of, undefined, '10.0.0.0');
    await sleep(100);
    expect((await limiter.decide(of, undefined, '10.0.0.0')).remaining).toBe(97);
  });
});

/** These are about counting together: a machine that stands still for a moment must not make them count alone. */
const PATIENT = { storeMs: 5_000 };

function together(open: () => EphemeralStore) {
  test('two gateways give out no more than the bucket, however the requests fall', async () => {
    const [one, two] = [limiterOn(open(), PATIENT), limiterOn(open(), PATIENT)];
    for (const strict of [false, true]) {
      // All at once, to gateways that have never heard of the client.
      const of = rateClass({ strict, perAddress: { capacity: 100, perSecond: 0.01 } });
      const decisions = await Promise.all([decideMany(one, of, 300), decideMany(two, of, 300)]);
      const atOnce = allowed(decisions.flat());
      // An eighth may be given out twice, unless the class is strict.
      expect(atOnce).toBeGreaterThanOrEqual(100);
      expect(atOnce).toBeLessThanOrEqual(strict ? 100 : 113);
      // Over a while, to one and the other.
      const later = rateClass({ strict, perAddress: { capacity: 100, perSecond: 0.01 } });
      let passed = 0;
      for (let turn = 0; turn < 60; turn++) {
        passed += allowed(await decideMany(turn % 2 ? one : two, later, 5));
        await sleep(5);
      }
      expect(passed).toBeGreaterThanOrEqual(100);
      expect(passed).toBeLessThanOrEqual(strict ? 100 : 113);
    }
  });

  test('over time they let through what comes back, not twice that', async () => {
    const [one, two] = [limiterOn(open(), PATIENT), limiterOn(open(), PATIENT)];
    const of = rateClass({ perAddress: { capacity: 20, perSecond: 50 } });
    let passed = 0;
    const started = performance.now();
    while (performance.now() - started < 2_000) {
      passed += allowed((await Promise.all([decideMany(one, of, 3), decideMany(two, of, 3)])).flat());
      await sleep(4);
    }
    const fair = 20 + ((performance.now() - started) / 1_000) * 50;
    expect(passed).toBeLessThanOrEqual(fair * 1.1 + 5);
    expect(passed).toBeGreaterThanOrEqual(fair * 0.8);
  });

  test('what one gateway refuses the other knows after one settlement', async () => {
    const [one, two] = [limiterOn(open(), PATIENT), limiterOn(open(), PATIENT)];
    const of = rateClass();
    await decideMany(one, of, 50);
    await sleep(60);
    await two.decide(of, undefined, IP);
    await eventually(() => two.blockedSeconds(of, IP) > 0);
  });
}

describe('gateways on one store, in memory', () => {
  const store = openMemoryStore();
  together(() => store);
});

describe('while the store', () => {
  for (const broken of ['fails', 'hangs'] as const) {
    test(`${broken}, no request fails or waits for long, and limits go on here`, async () => {
      const { store, seen } = watched(openMemoryStore());
      const limiter = limiterOn(store);
      const [strict, ordinary] = [rateClass({ strict: true }), rateClass()];
      seen.broken = broken;
      const started = performance.now();
      expect((await limiter.decide(strict, undefined, IP)).allowed).toBe(true);
      expect(performance.now() - started).toBeLessThan(500);
      expect(limiter.degraded()).toBe(true);
      expect(await limiter.metrics.registry.metrics()).toContain(
        'lyceum_gateway_limits_degraded{service="gateway"} 1',
      );
      // From now on nobody waits.
      for (const of of [strict, ordinary]) {
        const decisions = Array.from({ length: 20 }, () => limiter.decide(of, undefined, IP));
        expect(decisions.every((one) => !(one instanceof Promise))).toBe(true);
        expect(allowed(decisions as LimitDecision[])).toBe(of === strict ? 9 : 10);
      }
      seen.calls = 0;
      await sleep(600);
      expect(seen.calls).toBeLessThanOrEqual(4);
      seen.broken = undefined;
      await eventually(() => !limiter.degraded());
      expect(await limiter.metrics.registry.metrics()).toContain(
        'lyceum_gateway_limits_degraded{service="gateway"} 0',
      );
      expect(limiter.decide(rateClass({ strict: true }), undefined, IP)).toBeInstanceOf(Promise);
    });
  }

  test('is slower than it may be, requests are decided here meanwhile', async () => {
    const { store, seen } = watched(openMemoryStore());
    const limiter = limiterOn(store);
    const of = rateClass({ strict: true });
    seen.delayMs = 300;
    const started = performance.now();
    expect(allowed(await decideMany(limiter, of, 30))).toBe(10);
    expect(performance.now() - started).toBeLessThan(280);
    seen.delayMs = 0;
    await eventually(() => !limiter.degraded());
  });

  test('was away, what was let through meanwhile is no debt of the client', async () => {
    const { store, seen } = watched(openMemoryStore());
    const limiter = limiterOn(store);
    const of = rateClass({ perAddress: { capacity: 50, perSecond: 100 } });
    seen.broken = 'fails';
    for (let turn = 0; turn < 40; turn++) {
      await decideMany(limiter, of, 3);
      await sleep(20);
    }
    seen.broken = undefined;
    await eventually(() => !limiter.degraded());
    await sleep(700);
    expect((await limiter.decide(of, undefined, IP)).remaining).toBeGreaterThanOrEqual(40);
  });
});

describe.skipIf(redis === undefined)('on Redis (skipped without the real server)', () => {
  if (redis === undefined) return;
  const open = (url = redis.url): EphemeralStore => {
    const store = openRedis({ url, log: silentLog });
    closings.push(() => store.close());
    return store;
  };
  together(() => open());

  for (const state of ['cut off', 'stalled', 'away from the start'] as const) {
    test(`${state}: every request is decided in time, here; and together again when it is back`, async () => {
      const way = await tcpProxy(redis.url);
      closings.push(() => way.close());
      const isAway = state === 'away from the start';
      if (isAway) way.stall(true);
      const limiter = limiterOn(open(way.url));
      const roomy = rateClass({ strict: true, perAddress: { capacity: 100_000, perSecond: 1 } });
      const small = rateClass({ strict: true });
      if (!isAway) {
        await eventually(async () => {
          await limiter.decide(roomy, undefined, IP);
          return !limiter.degraded();
        });
        if (state === 'stalled') way.stall(true);
      }
      const cutting = state === 'cut off' ? setInterval(() => way.cut(), 2) : undefined;
      await sleep(10);

      let slowest = 0;
      for (let turn = 0; turn < 100; turn++) {
        const started = performance.now();
        const decisions = await decideMany(limiter, roomy, 10);
        slowest = Math.max(slowest, performance.now() - started);
        expect(allowed(decisions)).toBe(10);
        await sleep(10);
      }
      // 50 ms, and what this machine adds.
      expect(slowest).toBeLessThan(400);
      expect(limiter.degraded()).toBe(true);
      expect(allowed(await decideMany(limiter, small, 30))).toBe(10);

      clearInterval(cutting);
      way.stall(false);
      await eventually(() => !limiter.degraded(), 10_000);
      // Together again: what another gateway lets through counts here.
      const other = limiterOn(open());
      const shared = rateClass();
      await decideMany(other, shared, 30);
      await sleep(60);
      await limiter.decide(shared, undefined, IP);
      await eventually(() => limiter.blockedSeconds(shared, IP) > 0);
    });
  }
});
