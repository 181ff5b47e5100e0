import { expect, test } from 'bun:test';
import { RecentCache } from './recent-cache.ts';

const entry = (name: string) => ({ name, used: false });

test('keeps no more than its limit, and those that are used', () => {
  const gone: string[] = [];
  const cache = new RecentCache<{ name: string; used: boolean }>(3, ({ name }) => gone.push(name));
  for (const name of ['a', 'b', 'c']) cache.set(name, entry(name));
  cache.get('a');
  cache.set('d', entry('d'));
  expect(gone).toEqual(['b']);
  expect([...cache.values()].map(({ name }) => name)).toEqual(['c', 'a', 'd']);
  // Its use was before: it needs another one to stay.
  cache.set('e', entry('e'));
  cache.set('f', entry('f'));
  expect(gone).toEqual(['b', 'c', 'a']);
  expect(cache.size).toBe(3);
});

test('where all are used, the oldest goes', () => {
  const cache = new RecentCache<{ name: string; used: boolean }>(3);
  for (const name of ['a', 'b', 'c']) cache.set(name, entry(name));
  for (const name of ['a', 'b', 'c']) cache.get(name);
  cache.set('d', entry('d'));
  expect([...cache.values()].map(({ name }) => name)).toEqual(['b', 'c', 'd']);
});

test('setting a key again replaces its value and drops nothing', () => {
  const gone: string[] = [];
  const cache = new RecentCache<{ name: string; used: boolean }>(2, ({ name }) => gone.push(name));
  cache.set('a', entry('a'));
  cache.set('b', entry('b'));
  cache.set('a', entry('new a'));
  expect([cache.get('a')?.name, cache.size, gone]).toEqual(['new a', 2, []]);
  cache.delete('a');
  cache.clear();
  expect([cache.size, gone]).toEqual([0, ['new a', 'b']]);
});
