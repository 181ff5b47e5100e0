import { afterEach, describe, expect, test } from 'bun:test';
import { Registry } from 'prom-client';
import { eventually, sleep } from '../testing.ts';
import type { CheckResult } from './health-check.ts';
import { observeUpstreams } from './metrics.ts';
import { parseTargets } from './targets.ts';
import { countChoices, FakeClock, type TestReplica, testPool } from './testing.ts';

const list = (count: number): string =>
  Array.from({ length: count }, (_, index) => `http://r${index}:1`).join(',');

describe('power of two choices', () => {
  test('replicas alike get about the same', () => {
    const counts = Object.values(countChoices(testPool(list(4)), 8_000));
    expect(counts).toHaveLength(4);
    for (const count of counts) {
      expect(count).toBeGreaterThan(1_800);
      expect(count).toBeLessThan(2_200);
    }
  });

  test('of two, the one with fewer in flight', () => {
    const pool = testPool(list(2));
    const [one, two] = pool.replicas as [TestReplica, TestReplica];
    one.begin();
    expect(countChoices(pool, 100)).toEqual({ 'r1:1': 100 });
    two.begin();
    two.begin();
    expect(countChoices(pool, 100)).toEqual({ 'r0:1': 100 });
  });

  test('load stays even where one is ten times as slow', () => {
    const pool = testPool(list(5));
    const ends: { at: number; end: () => void }[] = [];
    let highest = 0;
    for (let now = 0; now < 5_000; now++) {
      for (const due of ends.filter(({ at }) => at === now)) due.end();
      const replica = pool.choose()!;
      const ticket = replica.begin();
      const slow = replica === pool.replicas[0];
      ends.push({ at: now + (slow ? 200 : 20), end: () => replica.end(ticket, 'ok') });
      if (slow) highest = Math.max(highest, replica.inFlight);
    }
    // By turns it would have 40 in flight.
    expect(highest).toBeLessThan(12);
  });

  test('those that were tried are left out', () => {
    const pool = testPool(list(3));
    const tried: TestReplica[] = [];
    for (let turn = 0; turn < 3; turn++) tried.push(pool.choose(tried)!);
    expect(new Set(tried).size).toBe(3);
    expect(pool.choose(tried)).toBeUndefined();
  });

  test('without replicas there is no choice', () => {
    expect(testPool('dns+http://nobody:1').choose()).toBeUndefined();
  });

  test('sockets are spread by sockets, requests by requests', () => {
    const pool = testPool(list(2));
    const [one, two] = pool.replicas as [TestReplica, TestReplica];
    for (let turn = 0; turn < 50; turn++) one.hold();
    two.begin();
    for (let turn = 0; turn < 20; turn++) expect(pool.choose([], true)).toBe(two);
    expect(countChoices(pool, 20)).toEqual({ 'r0:1': 20 });
    for (let turn = 0; turn < 50; turn++) pool.choose([], true)!.hold();
    for (let turn = 0; turn < 100; turn++) pool.choose([], true)!.hold();
    expect([one.sockets, two.sockets]).toEqual([100, 100]);
  });
});

describe('reload', () => {
  test('who stays keeps its connections; who goes finishes; who comes starts slowly', async () => {
    const clock = new FakeClock();
    const pool = testPool('http://a:1,http://b:2', {}, { clock: clock.read });
    const [a, b] = pool.replicas as [TestReplica, TestReplica];
    const ticket = b.begin();
    await pool.reload(parseTargets('http://c:3,http://a:1'));
    const [c] = pool.replicas as [TestReplica];
    expect(pool.replicas.map(({ name }) => name)).toEqual(['c:3', 'a:1']);
    expect(pool.replicas[1]).toBe(a);
    expect([a.connections.closed, b.connections.closed]).toEqual(['no', 'gracefully']);
    expect([a.share(clock.now), c.share(clock.now)]).toEqual([1, 0.1]);

    const states = () => pool.state().replicas.map(({ name, draining }) => [name, draining]);
    expect(states()).toEqual([
      ['c:3', false],
      ['a:1', false],
      ['b:2', true],
    ]);
    expect(countChoices(pool, 200)).not.toHaveProperty('b:2');
    b.end(ticket, 'ok');
    expect(states()).toHaveLength(2);
  });

  test('who goes is there until its last socket is closed', async () => {
    const pool = testPool('http://a:1,http://b:2');
    const b = pool.replicas[1]!;
    b.hold();
    await pool.reload(parseTargets('http://a:1'));
    expect(pool.state().replicas[1]).toMatchObject({ name: 'b:2', sockets: 1, draining: true });
    b.release();
    expect(pool.state().replicas).toHaveLength(1);
  });

  test('who returns while it still finishes is a new one', async () => {
    const pool = testPool('http://a:1,http://b:2');
    const b = pool.replicas[1]!;
    const ticket = b.begin();
    await pool.reload(parseTargets('http://a:1'));
    await pool.reload(parseTargets('http://a:1,http://b:2'));
    expect(pool.replicas[1]).not.toBe(b);
    expect(pool.replicas[1]!.connections.closed).toBe('no');
    b.end(ticket, 'ok');
    expect(pool.state().replicas).toHaveLength(2);
  });

  test('stopping ends all connections', async () => {
    const pool = testPool('http://a:1,http://b:2');
    const [a, b] = pool.replicas as [TestReplica, TestReplica];
    b.begin();
    await pool.reload(parseTargets('http://a:1'));
    pool.stop();
    expect([a.connections.closed, b.connections.closed]).toEqual(['at once', 'at once']);
  });
});

describe('bulkhead and retries', () => {
  test('one pool in want leaves the other alone', async () => {
    const slow = testPool(list(1), { maxInFlight: 1, maxQueued: 0 });
    const quick = testPool(list(1), { maxInFlight: 1, maxQueued: 0 });
    expect(slow.enter()).toBeUndefined();
    await expect(Promise.resolve(slow.enter())).rejects.toMatchObject({ code: 'upstream-unavailable' });
    expect(quick.enter()).toBeUndefined();
    quick.leave();
    slow.leave();
    expect(slow.enter()).toBeUndefined();
  });

  test('a fifth of the requests may be repeated, and a few besides', () => {
    const pool = testPool(list(1), { retriesPerSecond: 1 });
    countChoices(pool, 100);
    let allowed = 0;
    while (pool.mayRetry()) allowed++;
    expect(allowed).toBe(30);
    expect(pool.counts().retries).toEqual({ allowed: 30, denied: 1 });
  });
});

describe('checks', () => {
  const pools: { stop(): void }[] = [];
  afterEach(() => {
    for (const pool of pools.splice(0)) pool.stop();
  });

  test('each replica again and again, and never twice at a time', async () => {
    const asked: Record<string, number> = {};
    let answered = (_: CheckResult): void => {};
    const pool = testPool(
      'http://quick:1,http://slow:1',
      { checkEveryMs: 10 },
      {
        check: ({ hostname }) => {
          asked[hostname] = (asked[hostname] ?? 0) + 1;
          if (hostname === 'quick') return Promise.resolve({ health: 'ready', refused: false });
          return new Promise((resolve) => {
            answered = resolve;
          });
        },
      },
    );
    pools.push(pool);
    await pool.start();
    await eventually(() => (asked.quick ?? 0) >= 5);
    void pool.check();
    expect(asked.slow).toBe(1);
    answered({ health: 'not ready', refused: false });
    await eventually(() => asked.slow === 2);
    expect(pool.state().replicas.map(({ health }) => health)).toEqual(['ready', 'not ready']);
  });

  test('asked for from many sides, it is one', async () => {
    let asked = 0;
    const pool = testPool(
      list(1),
      {},
      {
        check: async () => {
          asked++;
          await sleep(5);
          return { health: 'ready', refused: false };
        },
      },
    );
    await Promise.all([pool.check(), pool.check(), pool.check()]);
    await pool.check();
    expect([asked, pool.state().ready]).toEqual([1, true]);
  });
});

describe('metrics', () => {
  test('tell the state of each replica and what has happened', async () => {
    const registry = new Registry();
    const upstreams = observeUpstreams(registry);
    const pool = testPool(
      'http://a:1,http://b:2',
      { maxInFlight: 1, maxQueued: 0 },
      { metrics: { upstreams } },
    );
    const [a, b] = pool.replicas as [TestReplica, TestReplica];
    a.end(a.begin(), 'connect');
    b.begin();
    pool.enter();
    await Promise.resolve(pool.enter()).catch(() => {});
    pool.mayRetry();
    const lines = (await registry.metrics()).split('\n');
    for (const line of [
      'lyceum_gateway_replica_usable{upstream="chat",replica="a:1"} 0',
      'lyceum_gateway_replica_usable{upstream="chat",replica="b:2"} 1',
      'lyceum_gateway_replica_in_flight{upstream="chat",replica="b:2"} 1',
      'lyceum_gateway_replica_share{upstream="chat",replica="b:2"} 1',
      'lyceum_gateway_upstream_in_flight{upstream="chat"} 1',
      'lyceum_gateway_upstream_queued{upstream="chat"} 0',
      'lyceum_gateway_ejections_total{upstream="chat",cause="connect"} 1',
      'lyceum_gateway_ejections_total{upstream="chat",cause="no answer"} 0',
      'lyceum_gateway_breaker_transitions_total{upstream="chat",to="open"} 1',
      'lyceum_gateway_bulkhead_refusals_total{upstream="chat",reason="full"} 1',
      'lyceum_gateway_retries_total{upstream="chat",decision="allowed"} 1',
    ])
      expect(lines).toContain(line);

    await pool.reload(parseTargets('http://b:2'));
    const later = await registry.metrics();
    expect(later).not.toContain('replica="a:1"');
    expect(later).toContain('lyceum_gateway_ejections_total{upstream="chat",cause="connect"} 1');
    pool.stop();
    expect(upstreams.size).toBe(0);
  });
});
