import { beforeEach, describe, expect, test } from 'bun:test';
import type { Outcome, UpstreamPool } from './pool.ts';
import { DEFAULT_UPSTREAM_SETTINGS, type UpstreamSettings } from './settings.ts';
import { countChoices, FakeClock, type FakeConnections, type TestReplica, testPool } from './testing.ts';

/** The breaker of one replica, step by step, by a clock that the test moves. */

let clock: FakeClock;
let pool: UpstreamPool<FakeConnections>;
let one: TestReplica;
let two: TestReplica;

function start(list = 'http://one:1,http://two:2', settings: Partial<UpstreamSettings> = {}): void {
  clock = new FakeClock();
  pool = testPool(list, settings, { clock: clock.read });
  [one, two] = pool.replicas as [TestReplica, TestReplica];
}
beforeEach(() => start());

const serve = (replica: TestReplica, ...outcomes: Outcome[]): void => {
  for (const outcome of outcomes) replica.end(replica.begin(), outcome);
};
const times = <T>(count: number, value: T): T[] => new Array<T>(count).fill(value);
const breakerOf = (replica: TestReplica): string => {
  replica.refresh(clock.now);
  return replica.breaker;
};
/** Opens and lets the time of being open pass. */
function bringToHalfOpen(replica: TestReplica): void {
  serve(replica, ...times(5, 'timeout' as const));
  expect(breakerOf(replica)).toBe('open');
  clock.pass(30_000);
  expect(breakerOf(replica)).toBe('half-open');
}

describe('breaker: closed', () => {
  test('a refused connection opens it at once', () => {
    serve(one, 'connect');
    expect(breakerOf(one)).toBe('open');
    expect(countChoices(pool, 100)).toEqual({ 'two:2': 100 });
  });

  test.each(['broken', 'timeout', 'failed-status'] as const)(
    'five in a row of %p open it, four do not',
    (outcome) => {
      serve(one, ...times(4, outcome), 'ok', ...times(4, outcome));
      expect(breakerOf(one)).toBe('closed');
      serve(one, outcome);
      expect(breakerOf(one)).toBe('open');
      expect(pool.counts().openings['failures in a row']).toBe(1);
    },
  );

  test('clients that leave say nothing', () => {
    serve(one, ...times(4, 'timeout' as const), ...times(100, 'cancelled' as const));
    expect(breakerOf(one)).toBe('closed');
    serve(one, 'timeout');
    expect(breakerOf(one)).toBe('open');
  });

  test('half of at least twenty within ten seconds open it', () => {
    for (let turn = 0; turn < 9; turn++) serve(one, 'ok', 'failed-status');
    serve(one, 'ok');
    expect(breakerOf(one)).toBe('closed');
    serve(one, 'failed-status');
    expect(breakerOf(one)).toBe('open');
    expect(pool.counts().openings['failure share']).toBe(1);
  });

  test('a share below half does not, and what is old does not count', () => {
    for (let turn = 0; turn < 50; turn++) serve(one, 'ok', 'ok', 'failed-status');
    expect(breakerOf(one)).toBe('closed');
    for (let turn = 0; turn < 60; turn++) {
      serve(one, 'ok', 'failed-status');
      clock.pass(1_200);
    }
    expect(breakerOf(one)).toBe('closed');
  });

  test('a lone replica is not taken out for one refused connection', () => {
    start('http://one:1');
    serve(one, ...times(4, 'connect' as const), 'ok', 'connect');
    expect(breakerOf(one)).toBe('closed');
    serve(one, ...times(4, 'connect' as const));
    expect(breakerOf(one)).toBe('open');
  });

  test('nor is the last one that works', () => {
    serve(one, 'connect');
    serve(two, 'connect');
    expect([breakerOf(one), breakerOf(two)]).toEqual(['open', 'closed']);
  });
});

describe('breaker: open', () => {
  test('twice as long each time, up to 30 s', () => {
    const waits: number[] = [];
    serve(one, ...times(5, 'timeout' as const));
    for (let turn = 0; turn < 7; turn++) {
      let waited = 0;
      while (breakerOf(one) === 'open') {
        clock.pass(500);
        waited += 500;
      }
      waits.push(waited);
      serve(one, 'timeout');
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(pool.counts().breakers).toEqual({ closed: 0, open: 8, 'half-open': 7 });
  });

  test('begins anew after a minute without trouble', () => {
    const openFor = (): number => {
      serve(one, ...times(5, 'timeout' as const));
      let waited = 0;
      for (; breakerOf(one) === 'open'; waited += 500) clock.pass(500);
      serve(one, ...times(3, 'ok' as const));
      expect(breakerOf(one)).toBe('closed');
      return waited;
    };
    expect([openFor(), openFor()]).toEqual([1_000, 2_000]);
    clock.pass(60_001);
    expect(openFor()).toBe(1_000);
  });

  test('requests that began before it opened say nothing about now', () => {
    const early = times(20, 0).map(() => one.begin());
    serve(one, ...times(5, 'timeout' as const));
    clock.pass(1_000);
    expect(breakerOf(one)).toBe('half-open');
    for (const ticket of early.slice(0, 10)) one.end(ticket, 'ok');
    expect(breakerOf(one)).toBe('half-open');
    for (const ticket of early.slice(10)) one.end(ticket, 'timeout');
    expect(breakerOf(one)).toBe('half-open');
    expect(one.inFlight).toBe(0);
  });
});

describe('breaker: half-open', () => {
  beforeEach(() => bringToHalfOpen(one));

  test('three successes close it', () => {
    serve(one, 'ok', 'ok');
    expect(breakerOf(one)).toBe('half-open');
    serve(one, 'ok');
    expect(breakerOf(one)).toBe('closed');
  });

  test('one failure opens it again', () => {
    serve(one, 'ok', 'ok', 'failed-status');
    expect(breakerOf(one)).toBe('open');
  });

  test('three requests at a time, the others go elsewhere', () => {
    const chosen = times(100, 0).map(() => {
      const replica = pool.choose()!;
      return { replica, ticket: replica.begin() };
    });
    expect(chosen.filter(({ replica }) => replica === one)).toHaveLength(3);
    for (const { replica, ticket } of chosen) replica.end(ticket, 'ok');
    expect(breakerOf(one)).toBe('closed');
  });

  test('a client that leaves gives its place free and proves nothing', () => {
    serve(one, ...times(50, 'cancelled' as const));
    expect(breakerOf(one)).toBe('half-open');
    expect(countChoices(pool, 100)['one:1']).toBeGreaterThan(0);
  });
});

describe('slow start', () => {
  const shareOfOne = (): number => {
    // Twenty at a time, so that the load would send everything to the one that is empty.
    const held = times(20, 0).map(() => two.begin());
    const share = (countChoices(pool, 2_000)['one:1'] ?? 0) / 2_000;
    for (const ticket of held) two.end(ticket, 'ok');
    return share;
  };

  test('who is back gets a share that grows for ten seconds', () => {
    bringToHalfOpen(one);
    serve(one, ...times(3, 'ok' as const));
    const shares = [shareOfOne()];
    for (let step = 0; step < 5; step++) {
      clock.pass(2_000);
      shares.push(shareOfOne());
    }
    const expected = [0.1, 0.2, 0.4, 0.6, 0.8, 1];
    for (const [index, share] of shares.entries()) {
      expect(share).toBeGreaterThan(expected[index]! - 0.04);
      expect(share).toBeLessThan(expected[index]! + 0.04);
    }
  });

  test('a lone replica gets everything', () => {
    start('http://one:1');
    bringToHalfOpen(one);
    serve(one, ...times(3, 'ok' as const));
    expect(countChoices(pool, 100)).toEqual({ 'one:1': 100 });
  });

  test('so do two that start slowly together', () => {
    for (const replica of [one, two]) serve(replica, ...times(5, 'timeout' as const));
    clock.pass(1_000);
    for (const replica of [one, two]) {
      expect(breakerOf(replica)).toBe('half-open');
      serve(replica, ...times(3, 'ok' as const));
      expect(replica.share(clock.now)).toBe(0.1);
    }
    const counts = countChoices(pool, 1_000);
    expect(counts['one:1']! + counts['two:2']!).toBe(1_000);
    expect(Math.min(counts['one:1']!, counts['two:2']!)).toBeGreaterThan(400);
  });
});

describe('health checks', () => {
  const see = (
    replica: TestReplica,
    health: Parameters<TestReplica['learnFromCheck']>[0],
    refused = false,
  ): void => replica.learnFromCheck(health, clock.now, refused);

  test('two in a row without an answer take it out, one where nobody listens', () => {
    see(one, 'no answer');
    expect(breakerOf(one)).toBe('closed');
    see(one, 'ready');
    see(one, 'no answer');
    expect(breakerOf(one)).toBe('closed');
    see(one, 'no answer');
    expect(breakerOf(one)).toBe('open');
    start();
    see(one, 'no answer', true);
    expect(breakerOf(one)).toBe('open');
  });

  test('after the first, the other is preferred', () => {
    see(one, 'no answer');
    expect(countChoices(pool, 50)).toEqual({ 'two:2': 50 });
  });

  test('it comes back after two that are answered, on trial', () => {
    see(one, 'no answer', true);
    clock.pass(60_000);
    expect(breakerOf(one)).toBe('open');
    see(one, 'ready');
    expect(breakerOf(one)).toBe('open');
    see(one, 'no answer');
    see(one, 'ready');
    expect(breakerOf(one)).toBe('open');
    see(one, 'ready');
    expect(breakerOf(one)).toBe('half-open');
  });

  test('not before the time it must stay out is over', () => {
    bringToHalfOpen(one);
    serve(one, 'connect');
    see(one, 'ready');
    see(one, 'ready');
    expect(breakerOf(one)).toBe('open');
    clock.pass(2_000);
    expect(breakerOf(one)).toBe('half-open');
  });

  test('one is enough where no other can be used', () => {
    start('http://one:1');
    see(one, 'no answer', true);
    see(one, 'no answer', true);
    expect(breakerOf(one)).toBe('open');
    clock.pass(1_000);
    see(one, 'ready');
    expect(breakerOf(one)).toBe('half-open');
  });

  test('a check that is late while requests are answered is not believed, a refused one is', () => {
    const startedAt = clock.now;
    clock.pass(1_000);
    serve(one, 'ok');
    for (let turn = 0; turn < 5; turn++) one.learnFromCheck('no answer', startedAt);
    expect(breakerOf(one)).toBe('closed');
    one.learnFromCheck('no answer', startedAt, true);
    expect(breakerOf(one)).toBe('open');
  });

  test('without checks, time brings it back', () => {
    start(undefined, { checkEveryMs: 0 });
    serve(one, 'connect');
    clock.pass(DEFAULT_UPSTREAM_SETTINGS.openMs);
    expect(breakerOf(one)).toBe('half-open');
  });

  test('one that lacks something is used when no other can be', () => {
    see(one, 'not ready');
    expect(countChoices(pool, 50)).toEqual({ 'two:2': 50 });
    expect(countChoices(pool, 50)).not.toHaveProperty('one:1');
    see(two, 'not ready');
    const both = countChoices(pool, 200);
    expect(both['one:1']! + both['two:2']!).toBe(200);
    expect(Math.min(both['one:1']!, both['two:2']!)).toBeGreaterThan(50);
  });

  test('one that drains gets nothing new, finishes what it has, and starts slowly if it stays', () => {
    const ticket = one.begin();
    see(one, 'draining');
    expect(countChoices(pool, 50)).toEqual({ 'two:2': 50 });
    expect(pool.state().replicas[0]).toMatchObject({ draining: true, inFlight: 1, breaker: 'closed' });
    one.end(ticket, 'ok');
    see(one, 'ready');
    expect(pool.state().replicas[0]).toMatchObject({ draining: false, share: 0.1 });
  });
});

describe('when none is healthy', () => {
  test('the least bad is tried: draining, then failing, then unreachable', () => {
    start('http://one:1,http://two:2,http://three:3');
    const three = pool.replicas[2]!;
    one.learnFromCheck('no answer', clock.now, true);
    serve(two, ...times(5, 'failed-status' as const));
    three.learnFromCheck('draining', clock.now);
    expect(pool.choose()).toBe(three);
    expect(pool.choose([three])).toBe(two);
    expect(pool.choose([three, two])).toBe(one);
    expect(pool.choose([three, two, one])).toBeUndefined();
  });

  test('but each gets only so many requests at a time', () => {
    start('http://one:1');
    const stalled = times(500, 0).map(() => one.begin());
    serve(one, ...times(5, 'timeout' as const));
    const tried = times(DEFAULT_UPSTREAM_SETTINGS.lastResortRequests, 0).map(() => pool.choose()!.begin());
    expect(pool.choose()).toBeUndefined();
    one.end(tried[0]!, 'timeout');
    expect(pool.choose()).toBe(one);
    for (const ticket of stalled) one.end(ticket, 'timeout');
    for (const ticket of tried.slice(1)) one.end(ticket, 'timeout');
    expect(one.inFlight).toBe(0);
  });

  test('a few that go well close it before its time', () => {
    start('http://one:1');
    serve(one, ...times(5, 'connect' as const));
    expect(breakerOf(one)).toBe('open');
    serve(one, 'ok', 'ok', 'ok');
    expect(breakerOf(one)).toBe('closed');
  });

  test('failures then do not make it longer', () => {
    start('http://one:1');
    serve(one, ...times(5, 'timeout' as const));
    clock.pass(900);
    serve(one, ...times(30, 'timeout' as const));
    clock.pass(100);
    expect(breakerOf(one)).toBe('half-open');
  });
});
