import { describe, expect, test } from 'bun:test';
import { RetryBudget } from './retry-budget.ts';
import { SlidingCounts } from './sliding-counts.ts';

describe('retry budget', () => {
  const takeAll = (budget: RetryBudget, now: number): number => {
    let taken = 0;
    while (budget.take(now)) taken++;
    return taken;
  };

  test('a few a second even without traffic', () => {
    const budget = new RetryBudget(0.2, 1);
    expect(takeAll(budget, 5_000)).toBe(10);
    expect(takeAll(budget, 9_000)).toBe(0);
    expect(takeAll(budget, 15_000)).toBe(10);
    expect([budget.allowed, budget.denied]).toEqual([20, 3]);
  });

  test('a share of the requests of the last ten seconds', () => {
    const budget = new RetryBudget(0.2, 0);
    for (let count = 0; count < 1_000; count++) budget.countRequest(1_000);
    expect(takeAll(budget, 2_000)).toBe(200);
    for (let count = 0; count < 100; count++) budget.countRequest(3_000);
    expect(takeAll(budget, 3_000)).toBe(20);
    // The thousand is forgotten, and so are the retries of its time.
    expect(takeAll(budget, 12_500)).toBe(0);
    expect(takeAll(budget, 60_000)).toBe(0);
  });
});

describe('sliding counts', () => {
  test('an event counts for ten seconds', () => {
    const counts = new SlidingCounts();
    for (const second of [0, 3, 9]) counts.add(0, second * 1_000);
    counts.add(1, 9_500);
    const at = (now: number): [number, number] => [counts.total(0, now), counts.total(1, now)];
    expect(at(9_999)).toEqual([3, 1]);
    expect(at(10_000)).toEqual([2, 1]);
    expect(at(13_000)).toEqual([1, 1]);
    expect(at(19_000)).toEqual([0, 0]);
    counts.add(0, 19_000);
    expect(at(1_000_000)).toEqual([0, 0]);
  });
});
