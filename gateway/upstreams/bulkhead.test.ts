import { afterEach, describe, expect, test } from 'bun:test';
import { Problem } from '../../shared/errors.ts';
import { Bulkhead } from './bulkhead.ts';

let bulkhead: Bulkhead;
const make = (maxInFlight: number, maxQueued: number, queueMs = 60_000): void => {
  bulkhead = new Bulkhead('chat', { maxInFlight, maxQueued, queueMs });
};
const refusalOf = (entry: undefined | Promise<void>): Promise<unknown> =>
  Promise.resolve(entry).then(
    () => 'let in',
    (error: unknown) => error,
  );
const expectRefusal = (error: unknown): void => {
  expect(error).toBeInstanceOf(Problem);
  const { code, status, retryAfter } = error as Problem;
  expect([code, status, retryAfter]).toEqual(['upstream-unavailable', 503, 1]);
};
afterEach(() => bulkhead.stop());

describe('bulkhead', () => {
  test('lets in without waiting while there is room', () => {
    make(2, 1);
    expect([bulkhead.enter(), bulkhead.enter()]).toEqual([undefined, undefined]);
    expect(bulkhead.inFlight).toBe(2);
    bulkhead.leave();
    bulkhead.leave();
    expect(bulkhead.inFlight).toBe(0);
  });

  test('who waits longest comes next', async () => {
    make(1, 50);
    bulkhead.enter();
    const order: number[] = [];
    const waiting = Array.from({ length: 50 }, (_, index) =>
      (bulkhead.enter() as Promise<void>).then(() => {
        order.push(index);
        bulkhead.leave();
      }),
    );
    expect([bulkhead.inFlight, bulkhead.queued]).toEqual([1, 50]);
    bulkhead.leave();
    await Promise.all(waiting);
    expect(order).toEqual(Array.from({ length: 50 }, (_, index) => index));
    expect([bulkhead.inFlight, bulkhead.queued]).toEqual([0, 0]);
  });

  test('a full queue turns away at once', async () => {
    make(1, 1);
    bulkhead.enter();
    const first = bulkhead.enter();
    expectRefusal(await refusalOf(bulkhead.enter()));
    expect([bulkhead.refused, bulkhead.timedOut, bulkhead.queued]).toEqual([1, 0, 1]);
    bulkhead.leave();
    expect(await refusalOf(first)).toBe('let in');
    expect(bulkhead.inFlight).toBe(1);
  });

  test('who has waited for too long is turned away, who has not goes on waiting', async () => {
    make(1, 10, 60);
    bulkhead.enter();
    const began = performance.now();
    const early = [refusalOf(bulkhead.enter()), refusalOf(bulkhead.enter())];
    await new Promise((resolve) => setTimeout(resolve, 40));
    const late = refusalOf(bulkhead.enter());
    for (const error of await Promise.all(early)) expectRefusal(error);
    expect(performance.now() - began).toBeGreaterThanOrEqual(58);
    expect([bulkhead.timedOut, bulkhead.queued, bulkhead.inFlight]).toEqual([2, 1, 1]);
    bulkhead.leave();
    expect(await late).toBe('let in');
    bulkhead.leave();
    expect([bulkhead.timedOut, bulkhead.inFlight]).toEqual([2, 0]);
  });

  test('never lets in more than it may', async () => {
    make(3, 1_000);
    let most = 0;
    let now = 0;
    await Promise.all(
      Array.from({ length: 300 }, async (_, index) => {
        await bulkhead.enter();
        most = Math.max(most, ++now);
        if (index % 3 > 0) await new Promise((resolve) => setTimeout(resolve, index % 4));
        now--;
        bulkhead.leave();
      }),
    );
    expect([most, bulkhead.inFlight, bulkhead.queued]).toEqual([3, 0, 0]);
  });

  test('stopping turns away all who wait', async () => {
    make(1, 10);
    bulkhead.enter();
    const waiting = [refusalOf(bulkhead.enter()), refusalOf(bulkhead.enter())];
    bulkhead.stop();
    for (const error of await Promise.all(waiting)) expectRefusal(error);
  });
});
