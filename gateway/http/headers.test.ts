import { expect, test } from 'bun:test';
import { countOf, headerOf, removeHeader } from './headers.ts';

const list = (): string[] => ['a', '1', 'b', 'a', 'a', '2', 'c', ''];

test('the first value of a name, and names only', () => {
  expect(headerOf(list(), 'a')).toBe('1');
  expect(headerOf(list(), 'c')).toBe('');
  expect(headerOf(list(), '1')).toBeUndefined();
  expect(headerOf([], 'a')).toBeUndefined();
});

test('how many lines a name has', () => {
  expect(['a', 'b', 'c', 'd', '2'].map((name) => countOf(list(), name))).toEqual([2, 1, 1, 0, 0]);
});

test('all lines of a name go, and the rest keeps its order', () => {
  const without = (name: string): string[] => {
    const lines = list();
    removeHeader(lines, name);
    return lines;
  };
  expect(without('a')).toEqual(['b', 'a', 'c', '']);
  expect(without('b')).toEqual(['a', '1', 'a', '2', 'c', '']);
  expect(without('c')).toEqual(['a', '1', 'b', 'a', 'a', '2']);
  expect(without('2')).toEqual(list());
});
