import { describe, expect, test } from 'bun:test';
import {
  BadHead,
  endOfHead,
  hasBareLineFeed,
  MAX_HEAD_BYTES,
  parseRequestHead,
  parseResponseHead,
} from './head.ts';

const REQUEST_LINE = 'POST /a?b HTTP/1.1';
const request = (...lines: string[]) => parseRequestHead([REQUEST_LINE, 'Host: a', ...lines].join('\r\n'));
const get = (...lines: string[]) => parseRequestHead(['GET / HTTP/1.1', 'Host: a', ...lines].join('\r\n'));
const reply = (...lines: string[]) => parseResponseHead(['HTTP/1.1 200 OK', ...lines].join('\r\n'));

const refusal = (parse: () => unknown): BadHead | undefined => {
  try {
    parse();
  } catch (error) {
    if (error instanceof BadHead) return error;
    throw error;
  }
  return undefined;
};

// What is refused is in corpus.ts; here is what a good head becomes.
describe('a request', () => {
  test('all of it', () => {
    expect(
      request('Accept:  */* ', 'CONTENT-LENGTH: 12', 'X-Odd_Name:a:b', 'Expect: 100-continue', 'X-Empty:'),
    ).toEqual({
      method: 'POST',
      target: '/a?b',
      minor: 1,
      headers: [
        ...['host', 'a', 'accept', '*/*', 'content-length', '12', 'x-odd_name', 'a:b'],
        ...['expect', '100-continue', 'x-empty', ''],
      ],
      host: 'a',
      contentLength: 12,
      chunked: false,
      keepAlive: true,
      expectContinue: true,
      upgrade: '',
      hopByHop: [],
      reuse: undefined,
    });
  });

  test('with nothing but its first line', () => {
    expect(parseRequestHead('GET / HTTP/1.0')).toMatchObject({
      minor: 0,
      headers: [],
      host: '',
      keepAlive: false,
    });
  });

  test('a head leaves nothing behind for the next one', () => {
    request(
      'Content-Length: 5',
      'Connection: close',
      'Expect: 100-continue',
      'Upgrade: x',
      `X-Long: ${'a'.repeat(999)}`,
    );
    expect(get()).toMatchObject({
      headers: ['host', 'a'],
      contentLength: -1,
      keepAlive: true,
      expectContinue: false,
    });
    expect(refusal(() => request('Content-Length: 5', 'Content-Length: 5'))).toBeDefined();
    expect(request('Content-Length: 5').contentLength).toBe(5);
    expect(refusal(() => parseRequestHead('GET / HTTP/1.1'))?.status).toBe(400);
  });

  test('names in lower case, known and unknown, in any letters', () => {
    const names = [
      'Accept',
      'accept',
      'ACCEPT',
      'aCCept',
      'X-Unknown',
      'x-unknown',
      'X-UNKNOWN',
      'ETag',
      'Sec-CH-UA',
    ];
    const { headers } = get(...names.map((name) => `${name}: 1`));
    expect(headers.filter((_, index) => index % 2 === 0)).toEqual([
      'host',
      ...names.map((name) => name.toLowerCase()),
    ]);
  });

  test('a name that begins with a known one is another one', () => {
    for (const known of ['Host', 'Content-Length', 'Transfer-Encoding', 'Connection']) {
      for (let suffix = 0; suffix < 2_000; suffix++) {
        const name = `${known}${suffix.toString(36)}`;
        const head = request(`${name}: close`);
        expect([head.headers[2], head.keepAlive, head.chunked]).toEqual([name.toLowerCase(), true, false]);
      }
    }
  });

  test('framing by names in any letters', () => {
    expect(request('cOnTeNt-LeNgTh: 7').contentLength).toBe(7);
    expect(request('TRANSFER-ENCODING: Chunked').chunked).toBe(true);
    expect(parseRequestHead('GET / HTTP/1.1\r\nhOST: b').host).toBe('b');
    expect(get('CONNECTION: CLOSE').keepAlive).toBe(false);
  });

  test('values of every length, with every byte that they may have', () => {
    for (const length of [0, 1, 62, 63, 64, 65, 66, 127, 128, 129, 2_000]) {
      const value = 'a'.repeat(length);
      expect(get(`X-A: ${value}`, 'X-B: b').headers).toEqual(['host', 'a', 'x-a', value, 'x-b', 'b']);
      // The last line, where the text ends.
      expect(get('X-B: b', `X-A: ${value}`).headers).toEqual(['host', 'a', 'x-b', 'b', 'x-a', value]);
    }
    for (let code = 0; code < 256; code++) {
      for (const before of [0, 100]) {
        const value = `${'a'.repeat(before)}b${String.fromCharCode(code)}c`;
        const good = code === 9 || (code >= 32 && code !== 127);
        const refused = refusal(() => get(`X-A: ${value}`, 'X-B: b'));
        expect([code, refused === undefined]).toEqual([code, good]);
        if (good) expect(get(`X-A: ${value}`).headers[3]).toBe(value);
      }
    }
  });

  test('each byte in a name and in a method', () => {
    for (let code = 0; code < 256; code++) {
      const character = String.fromCharCode(code);
      const token = /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(character);
      expect([code, refusal(() => get(`X${character}A: 1`)) === undefined]).toEqual([
        code,
        token || code === 58,
      ]);
      const inMethod = refusal(() => parseRequestHead(`G${character}T / HTTP/1.1\r\nHost: a`)) === undefined;
      expect([code, inMethod]).toEqual([code, token]);
    }
  });

  test('spaces and tabs around a value go, those within stay', () => {
    expect(get('X-A: \t a\t b \t ').headers[3]).toBe('a\t b');
    expect(get(`X-A: ${' '.repeat(100)}a${' '.repeat(100)}`).headers[3]).toBe('a');
    expect(get(`X-A:${'\t '.repeat(100)}`).headers[3]).toBe('');
  });

  test('Connection and keep-alive', () => {
    const kept = (minor: 0 | 1, ...lines: string[]): boolean =>
      parseRequestHead([`GET / HTTP/1.${minor}`, 'Host: a', ...lines].join('\r\n')).keepAlive;
    expect(kept(1)).toBe(true);
    expect(kept(1, 'Connection: close')).toBe(false);
    expect(kept(1, 'Connection: Close')).toBe(false);
    expect(kept(1, 'Connection: x, close')).toBe(false);
    expect(kept(1, 'Connection: keep-alive', 'Connection: close')).toBe(false);
    expect(kept(1, 'Connection: keep-alive, close')).toBe(false);
    expect(kept(1, 'Connection: disclose')).toBe(true);
    expect(kept(0)).toBe(false);
    expect(kept(0, 'Connection: keep-alive')).toBe(true);
    expect(kept(0, 'Connection: Keep-Alive')).toBe(true);
    expect(kept(0, 'Connection: keep-alive, close')).toBe(false);
    expect(kept(0, 'Connection:')).toBe(false);
    expect(kept(1, 'Connection:')).toBe(true);
  });

  test('what else Connection names', () => {
    expect(get('Connection: keep-alive').hopByHop).toEqual([]);
    expect(get('Connection: Keep-Alive, TE ,, X-Foo', 'Connection: upgrade,HTTP2-Settings').hopByHop).toEqual(
      ['te', 'x-foo', 'http2-settings'],
    );
    expect(get(`Connection: ${'a,'.repeat(31)}a`).hopByHop.length).toBe(32);
    expect(refusal(() => get(`Connection: ${'a,'.repeat(32)}a`))?.status).toBe(400);
  });

  test('Upgrade counts if Connection names it, and not in HTTP/1.0', () => {
    expect(get('Connection: Upgrade', 'Upgrade: WebSocket').upgrade).toBe('websocket');
    expect(get('Connection: keep-alive, Upgrade', 'Upgrade: h2c, websocket').upgrade).toBe('h2c, websocket');
    expect(get('Upgrade: websocket').upgrade).toBe('');
    expect(get('Connection: Upgrade').upgrade).toBe('');
    expect(parseRequestHead('GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket').upgrade).toBe('');
  });

  test('Expect counts if a body follows, and not in HTTP/1.0', () => {
    const expects = (...lines: string[]): boolean => request('Expect: 100-CONTINUE', ...lines).expectContinue;
    expect(expects('Content-Length: 1')).toBe(true);
    expect(expects('Transfer-Encoding: chunked')).toBe(true);
    expect(expects('Content-Length: 0')).toBe(false);
    expect(expects()).toBe(false);
    expect(
      parseRequestHead('POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue').expectContinue,
    ).toBe(false);
  });

  test('the largest length', () => {
    expect(request('Content-Length: 9007199254740991').contentLength).toBe(Number.MAX_SAFE_INTEGER);
    expect(refusal(() => request('Content-Length: 9007199254740992'))?.status).toBe(400);
    expect(request('Content-Length: 0').contentLength).toBe(0);
  });

  test('a body on DELETE passes, on TRACE and CONNECT it does not', () => {
    const withBody = (method: string) => () =>
      parseRequestHead(`${method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 1`);
    expect(refusal(withBody('DELETE'))).toBeUndefined();
    expect(refusal(withBody('TRACE'))?.status).toBe(400);
    expect(refusal(withBody('CONNECT'))?.status).toBe(400);
  });

  test('100 header lines, and a head of 16 KiB', () => {
    expect(get(...new Array(99).fill('A: b')).headers.length).toBe(200);
    expect(refusal(() => get(...new Array(100).fill('A: b')))?.status).toBe(431);
    const start = 'GET / HTTP/1.1\r\nHost: a\r\nX-A: ';
    expect(
      refusal(() => parseRequestHead(start + 'a'.repeat(MAX_HEAD_BYTES - start.length))),
    ).toBeUndefined();
    expect(
      refusal(() => parseRequestHead(start + 'a'.repeat(MAX_HEAD_BYTES - start.length + 1)))?.status,
    ).toBe(431);
  });

  test('a message does not repeat what was sent', () => {
    for (const line of [
      '<script>',
      '<script>: 1',
      'Host: <script>',
      'Content-Length: <script>',
      'Expect: <script>',
    ])
      expect(refusal(() => request(line))?.message).not.toContain('script');
    expect(refusal(() => parseRequestHead('<script>'))?.message).not.toContain('script');
  });
});

describe('a response', () => {
  test('all of it', () => {
    expect(
      reply('Content-Length: 2', 'Connection: close, X-Foo', 'Set-Cookie: a=b', 'Set-Cookie: c=d'),
    ).toEqual({
      status: 200,
      reason: 'OK',
      minor: 1,
      headers: [
        ...['content-length', '2', 'connection', 'close, X-Foo', 'set-cookie', 'a=b', 'set-cookie', 'c=d'],
      ],
      contentLength: 2,
      chunked: false,
      keepAlive: false,
      upgrade: '',
      hopByHop: ['x-foo'],
      reuse: undefined,
    });
  });

  test('101 with its protocol', () => {
    expect(
      parseResponseHead('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket'),
    ).toMatchObject({ status: 101, upgrade: 'websocket', contentLength: -1 });
  });

  test('headers that must come once in a request may come twice here', () => {
    expect(reply('Content-Type: a', 'Content-Type: b', 'Host: a', 'Host: b').headers.length).toBe(8);
  });

  test('a reason of any length', () => {
    for (const length of [0, 1, 64, 65, 300]) {
      const reason = 'r'.repeat(length);
      expect(parseResponseHead(`HTTP/1.1 200 ${reason}\r\nA: b`)).toMatchObject({
        reason,
        headers: ['a', 'b'],
      });
      expect(parseResponseHead(`HTTP/1.1 200 ${reason}`)).toMatchObject({ reason, headers: [] });
    }
  });

  test('no line break can come out of it', () => {
    for (const text of ['a\r\nX-B: c', 'a\nX-B: c', 'a\rX-B: c', 'a\r\n\r\nHTTP/1.1 200 OK']) {
      const refused = refusal(() => {
        for (const part of [
          reply(`X-A: ${text}`).headers,
          parseResponseHead(`HTTP/1.1 200 ${text}`).headers,
        ].flat())
          expect(part).not.toMatch(/[\r\n]/);
      });
      // A CRLF makes two headers of it, which the service may send; it is never a part of one.
      expect(refused === undefined).toBe(text === 'a\r\nX-B: c');
    }
  });
});

describe('the end of a head', () => {
  const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

  test('is behind its blank line, wherever the search goes on', () => {
    const text = 'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n';
    const first = text.indexOf('GET', 1);
    expect(endOfHead(bytes(text), 0)).toBe(first);
    expect(endOfHead(bytes(text), first)).toBe(text.length);
    for (let cut = 0; cut < first; cut++) {
      expect(endOfHead(bytes(text.slice(0, cut)), 0)).toBe(-1);
      expect(endOfHead(bytes(text), Math.max(0, cut - 3))).toBe(first);
    }
  });

  test('is not where lines end otherwise', () => {
    for (const text of ['A\n\n', 'A\r\r', 'A\r\n\n', 'A\n\r\n', 'A\r\n\r', 'A\r\n \r\n'])
      expect(endOfHead(bytes(text), 0)).toBe(-1);
  });

  test('a line feed alone is found, also as the first byte', () => {
    for (const text of ['\n', 'A\n', 'A\r\nB\n', 'A\r\n\n', 'A\n\r\n'])
      expect(hasBareLineFeed(bytes(text), 0)).toBe(true);
    for (const text of ['', 'A', 'A\r', 'A\r\n', 'A\r\nB\r\n', '\r\n'])
      expect(hasBareLineFeed(bytes(text), 0)).toBe(false);
    expect(hasBareLineFeed(bytes('A\r\nB'), 2)).toBe(false);
    expect(hasBareLineFeed(bytes('A\nB\n'), 2)).toBe(true);
  });
});
