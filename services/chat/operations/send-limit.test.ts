import { expect, test } from 'bun:test';
import { openMemoryStore } from '../../../shared/adapters/ephemeral-store/memory.ts';
import type { EphemeralStore } from '../../../shared/ports/ephemeral-store.ts';
import { SendLimit } from './send-limit.ts';

const BUCKET = { capacity: 20, perSecond: 1 };
const settled = () => new Promise((resolve) => setTimeout(resolve, 60));

async function takeMany(limit: SendLimit, key: string, count: number): Promise<number> {
  const decisions = await Promise.all(Array.from({ length: count }, () => limit.take(key)));
  return decisions.filter(({ allowed }) => allowed).length;
}

test('a burst is allowed, then refused with the time to wait; others are not concerned', async () => {
  const store = openMemoryStore();
  const limit = new SendLimit(store, BUCKET);
  await limit.take('ben');
  expect(await takeMany(limit, 'ben', 40)).toBe(19);
  const refused = await limit.take('ben');
  expect(refused.allowed).toBe(false);
  expect(refused.resetMs).toBeGreaterThan(0);
  expect(refused.resetMs).toBeLessThanOrEqual(1_000);
  expect(await takeMany(limit, 'ada', 5)).toBe(5);
  await store.close();
});

test('two processes count together', async () => {
  const store = openMemoryStore();
  const [one, two] = [new SendLimit(store, BUCKET), new SendLimit(store, BUCKET)];
  await one.take('ben');
  await two.take('ben');
  let allowed = 2;
  for (let round = 0; round < 20; round++) {
    allowed += await takeMany(one, 'ben', 1);
    allowed += await takeMany(two, 'ben', 1);
    await settled();
  }
  // Some came back meanwhile: one a second.
  expect(allowed).toBeGreaterThanOrEqual(20);
  expect(allowed).toBeLessThanOrEqual(24);
  await store.close();
});

test('while the store is away each process counts for itself, and asks only now and then', async () => {
  let asked = 0;
  const away: Pick<EphemeralStore, 'takeTokensMany'> = {
    takeTokensMany: async () => {
      asked++;
      throw new Error('away');
    },
  };
  const limit = new SendLimit(away, BUCKET);
  await limit.take('ben');
  expect(await takeMany(limit, 'ben', 40)).toBe(19);
  await settled();
  expect(asked).toBeLessThanOrEqual(2);
});
