import { describe, expect, test } from 'bun:test';
import { BadHead, changeHeaders } from './head.ts';
import { headerOf } from './headers.ts';
import { RequestHeads, ResponseHeads } from './known-heads.ts';

const LINES = `Host: school.example\r\nAuthorization: Bearer ${'t'.repeat(600)}\r\nAccept: */*\r\n\r\n`;
const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1');

function readerOf(heads: RequestHeads): (text: string) => ReturnType<RequestHeads['read']> {
  return (text) => heads.read(bytesOf(text), text.length);
}

describe('the heads of requests', () => {
  test('from the third time on the lines are those that were read before; the target is always its own', () => {
    const read = readerOf(new RequestHeads());
    const [first, second, third, fourth] = ['/a', '/b', '/c?d=e', '/a'].map((target) =>
      read(`GET ${target} HTTP/1.1\r\n${LINES}`),
    );
    expect(first).toMatchObject({ target: '/a', host: 'school.example', reuse: undefined });
    expect(third).toEqual({ ...first!, target: '/c?d=e', reuse: {} });
    expect(third!.headers).toBe(second!.headers);
    expect(fourth!.reuse).toBe(third!.reuse!);
  });

  test('a head that differs in any one byte is another head', () => {
    const read = readerOf(new RequestHeads());
    const value = 'v'.repeat(400);
    const headWith = (text: string): string => `GET / HTTP/1.1\r\nHost: a\r\nX-Value: ${text}\r\n\r\n`;
    for (let time = 0; time < 3; time++) read(headWith(value));
    for (let index = 0; index < value.length; index++) {
      const other = `${value.slice(0, index)}w${value.slice(index + 1)}`;
      expect(headerOf(read(headWith(other)).headers, 'x-value')).toBe(other);
      expect(headerOf(read(headWith(value)).headers, 'x-value')).toBe(value);
    }
  });

  test('what the method or the version allows is asked again for another one', () => {
    const read = readerOf(new RequestHeads());
    const lines = 'Host: a\r\nContent-Length: 2\r\n\r\n';
    for (let time = 0; time < 3; time++) read(`POST / HTTP/1.1\r\n${lines}`);
    expect(() => read(`GET / HTTP/1.1\r\n${lines}`)).toThrow(BadHead);
    expect(read(`PUT / HTTP/1.1\r\n${lines}`).method).toBe('PUT');
    expect(read(`POST / HTTP/1.0\r\n${lines}`)).toMatchObject({ minor: 0, keepAlive: false });
  });

  test('a request line that is malformed is refused beside lines that are known', () => {
    const read = readerOf(new RequestHeads());
    for (let time = 0; time < 3; time++) read(`GET / HTTP/1.1\r\n${LINES}`);
    for (const line of [
      'GET  HTTP/1.1',
      'GET / x HTTP/1.1',
      'GET /\x7f HTTP/1.1',
      'GET/ HTTP/1.1',
      ' / HTTP/1.1',
    ])
      expect(() => read(`${line}\r\n${LINES}`)).toThrow(BadHead);
  });

  test('what a policy changes in one head stays in that one', () => {
    const read = readerOf(new RequestHeads());
    for (let time = 0; time < 3; time++) {
      const head = read(`GET / HTTP/1.1\r\n${LINES}`);
      changeHeaders(head).push('x-added', '1');
      expect(head.reuse).toBeUndefined();
    }
    expect(headerOf(read(`GET / HTTP/1.1\r\n${LINES}`).headers, 'x-added')).toBeUndefined();
  });
});

test('the heads of replies: a policy changes one of them only', () => {
  const heads = new ResponseHeads();
  const text = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n';
  const read = () => heads.read(bytesOf(text), text.length);
  const first = read();
  read();
  for (let time = 0; time < 2; time++) {
    const head = read();
    expect(head).toEqual({ ...first, reuse: {} });
    head.contentLength = -1;
    changeHeaders(head)[3] = 'W/"a"';
  }
});
