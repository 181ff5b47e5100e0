import { describe, expect, test } from 'bun:test';
import { BadHead } from './head.ts';
import { MAX_TARGET_BYTES, normaliseTarget } from './target.ts';

const refusal = (target: string): number | undefined => {
  try {
    normaliseTarget(target);
  } catch (error) {
    if (error instanceof BadHead) return error.status;
    throw error;
  }
  return undefined;
};

describe('paths', () => {
  const same = [
    '/',
    '/a',
    '/a/',
    '/a/b.c',
    '/a/..b',
    '/a/b..',
    '/a/...',
    '/.well-known/x',
    '/a;b=c/d,e',
    '/%C3%A4',
    '/a%3Fb',
  ];
  for (const path of same)
    test(`${path} stays`, () => expect(normaliseTarget(path)).toEqual({ path, query: '' }));

  const rewritten: Record<string, string> = {
    '/.': '/',
    '/./': '/',
    '/a/.': '/a/',
    '/a/..': '/',
    '/a/../': '/',
    '/a/b/..': '/a/',
    '/a/b/../': '/a/',
    '/a/./b/../../c': '/c',
    '/a/b/c/./../../g': '/a/g',
    '/mid/content=5/../6': '/mid/6',
    '/%7E%2D%5f%2e%61': '/~-_.a',
    '/a%2Eb': '/a.b',
    '/a/%2e%2e/b': '/b',
    '/a/%2E./b': '/b',
    '/%c3%a4': '/%C3%A4',
    '/%25%32%65': '/%252e',
    '/a%2b%20': '/a%2B%20',
  };
  for (const [from, to] of Object.entries(rewritten))
    test(`${from} is ${to}`, () => expect(normaliseTarget(from)).toEqual({ path: to, query: '' }));

  test('what is normalised stays so', () => {
    for (const target of [...same, ...Object.keys(rewritten)]) {
      const { path } = normaliseTarget(target);
      expect(normaliseTarget(path).path).toBe(path);
    }
  });

  test('`..` above the root', () => {
    for (const path of ['/..', '/../a', '/a/../..', '/./..', '/%2e%2e', '/a/%2e%2e/..'])
      expect([path, refusal(path)]).toEqual([path, 400]);
  });

  test('empty segments, before and after dot segments are removed', () => {
    for (const path of ['//', '//a', '/a//', '/a//b', '/a/.//b', '/a/..//b', '/a//..'])
      expect([path, refusal(path)]).toEqual([path, 400]);
  });

  test('each byte, as it is and escaped', () => {
    for (let code = 0; code < 256; code++) {
      const character = String.fromCharCode(code);
      const raw = /[A-Za-z0-9\-._~!$&'()*+,;=:@/[\]]/.test(character) || character === '?';
      expect([code, refusal(`/x${character}y`)]).toEqual([code, raw ? undefined : 400]);
      const escaped = `%${code.toString(16).padStart(2, '0')}`;
      if (code < 32 || code === 127 || character === '/' || character === '\\') {
        expect([escaped, refusal(`/x${escaped}`)]).toEqual([escaped, 400]);
      } else {
        const kept = /[A-Za-z0-9\-._~]/.test(character) ? character : escaped.toUpperCase();
        expect(normaliseTarget(`/x${escaped}`).path).toBe(`/x${kept}`);
      }
    }
  });

  test('escapes that are none', () => {
    for (const path of ['/%', '/%2', '/%g0', '/%0g', '/a%', '/%%41', '/%4/1', '/% 41', '/%+1', '/%-1'])
      expect([path, refusal(path)]).toEqual([path, 400]);
  });
});

test('other forms than origin-form', () => {
  for (const target of ['', '*', 'a', 'a/b', 'http://a/b', 'a:80', '?a', './a', '\\a'])
    expect([target, refusal(target)]).toEqual([target, 400]);
});

describe('queries', () => {
  test('stay as they came', () => {
    for (const query of ['?', '?a', '?a=b&c=d', '??', '?a=/../', '?%zz%', '?%2e%2F%00', '?a[]=1', '?a=b//c'])
      expect(normaliseTarget(`/p${query}`)).toEqual({ path: '/p', query });
    expect(normaliseTarget('/p/../q?x=/../%7e')).toEqual({ path: '/q', query: '?x=/../%7e' });
  });

  test('each byte', () => {
    for (let code = 0; code < 256; code++) {
      const character = String.fromCharCode(code);
      const allowed = /[A-Za-z0-9\-._~!$&'()*+,;=:@/?%[\]]/.test(character);
      expect([code, refusal(`/p?${character}`)]).toEqual([code, allowed ? undefined : 400]);
      // Also where the path makes the slow way necessary.
      expect([code, refusal(`/./p?${character}`)]).toEqual([code, allowed ? undefined : 400]);
    }
  });
});

test('the length', () => {
  expect(refusal(`/${'a'.repeat(MAX_TARGET_BYTES - 1)}`)).toBeUndefined();
  expect(refusal(`/${'a'.repeat(MAX_TARGET_BYTES)}`)).toBe(414);
  expect(refusal(`/?${'a'.repeat(MAX_TARGET_BYTES)}`)).toBe(414);
});
