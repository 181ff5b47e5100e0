import { expect, test } from 'bun:test';
import { fuzzGateway } from './fuzz.ts';

/** Longer on demand: `bun tests/gateway/fuzz.ts --connections 100000 --seed 2`. */
test('whatever clients send: replies are well-formed and their own, services see well-formed requests, nothing is left behind', async () => {
  const counts = await fuzzGateway({ seed: 1, connections: 2_000 });
  expect(counts.connections).toBe(2_000);
  expect(counts.sound).toBeGreaterThan(1_000);
  expect(counts.seen).toBeGreaterThan(counts.sound);
  expect(counts.refused).toBeGreaterThan(500);
}, 120_000);
