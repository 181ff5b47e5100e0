import { afterEach, beforeEach, expect, test } from 'bun:test';
import { openMemoryStore } from '../../../shared/adapters/ephemeral-store/memory.ts';
import { silentLog } from '../../../shared/observability/log.ts';
import type { EphemeralStore } from '../../../shared/ports/ephemeral-store.ts';
import { until } from '../test-school.ts';
import { PresenceBoard } from './presence-board.ts';

let store: EphemeralStore;
const boards: PresenceBoard[] = [];
beforeEach(() => {
  store = openMemoryStore();
});
afterEach(async () => {
  for (const board of boards.splice(0)) await board.stop();
  await store.close();
});

async function board(node: string, told: string[] = []): Promise<PresenceBoard> {
  const made = new PresenceBoard(node, store, silentLog, async (changes) => {
    for (const { userId, online } of changes) told.push(`${userId} ${online ? 'on' : 'off'}`);
  });
  boards.push(made);
  await made.start();
  return made;
}

const gathered = () => new Promise((resolve) => setTimeout(resolve, 250));

test('a user is online on every process, from the first device to the last', async () => {
  const told: string[] = [];
  const [one, two, watcher] = [await board('one'), await board('two'), await board('three', told)];
  one.arrive('ada');
  one.arrive('ada');
  await until(() => watcher.isOnline('ada'));
  two.arrive('ada');
  await gathered();
  one.depart('ada');
  one.depart('ada');
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  expect([one.isOnline('ada'), watcher.isOnline('ada')]).toEqual([true, true]);
  two.depart('ada');
  await until(() => !watcher.isOnline('ada'));
  await gathered();
  expect(told).toEqual(['ada on', 'ada off']);
});

test('a reload is no news', async () => {
  const told: string[] = [];
  const one = await board('one');
  await board('two', told);
  one.arrive('ada');
  await gathered();
  one.depart('ada');
  await new Promise((resolve) => setTimeout(resolve, 300));
  one.arrive('ada');
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  expect(told).toEqual(['ada on']);
});

test('who comes later learns who is here; the users of a process that died go', async () => {
  const told: string[] = [];
  const dead = await board('dead');
  dead.arrive('ada');
  dead.arrive('ben');
  await gathered();
  const alive = await board('alive', told);
  alive.arrive('ben');
  expect([alive.isOnline('ada'), alive.isOnline('ben')]).toEqual([true, true]);
  // As when the time of a process that says nothing any more runs out.
  await store.removeMember('chat:nodes', 'dead');
  await alive.refresh();
  expect([alive.isOnline('ada'), alive.isOnline('ben')]).toEqual([false, true]);
  await gathered();
  expect(told).toEqual(['ben on']);
});

test('a store that lost its memory learns it again, and a process that stops says so at once', async () => {
  const one = await board('one');
  one.arrive('ada');
  await gathered();
  await store.removeMember('chat:nodes', 'one');
  await store.removeMember('chat:online:one', 'ada');
  const two = await board('two');
  expect(two.isOnline('ada')).toBe(false);
  await one.refresh();
  await two.refresh();
  expect(two.isOnline('ada')).toBe(true);
  await one.stop();
  await until(() => !two.isOnline('ada'), 1_000);
});
