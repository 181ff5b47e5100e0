import { expect, test } from 'bun:test';
import { fuzz } from './fuzz.ts';

// More rounds and other seeds: `bun gateway/http/fuzz.ts --rounds 1000000 --seed 2`.
test('damaged messages are refused or read alike, whole and in pieces', () => {
  const counts = fuzz(20_240, 15_000);
  // The fuzzer is of use only while its messages end in all ways.
  expect(counts.accepted).toBeGreaterThan(1_000);
  expect(counts.refused).toBeGreaterThan(1_000);
  expect(counts.waiting).toBeGreaterThan(500);
});

test('the same seed does the same', () => {
  expect(fuzz(7, 300)).toEqual(fuzz(7, 300));
});
