import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { IncomingMessage } from 'node:http';
import {
  BEARER,
  sendRaw,
  startGateway,
  startUpstream,
  type TestGateway,
  type TestUpstream,
} from '../../gateway/testing.ts';

/**
 * What a raw socket can say to the public port: request smuggling, routing tricks and malformed heads. Each is
 * refused with the connection closed, or reaches the service exactly once and as what it is.
 */
let service: TestUpstream;
let door: TestGateway;
const seen: { method: string; url: string; body: string; headers: IncomingMessage['headers'] }[] = [];

beforeAll(async () => {
  service = await startUpstream((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      seen.push({ method: request.method!, url: request.url!, body, headers: request.headers });
      response.end('{}');
    });
  });
  door = await startGateway({ upstreams: { chat: service.url, auth: service.url } });
});
afterAll(async () => {
  await door.stop(100);
  await service.stop();
});

const H = 'Host: school.example\r\n';
const A = `Authorization: ${BEARER.authorization}\r\n`;
const post = (headers: string, body: string): string =>
  `POST /api/chat/rooms HTTP/1.1\r\n${H}${A}${headers}\r\n${body}`;
const get = (target: string, headers = H): string => `GET ${target} HTTP/1.1\r\n${headers}${A}\r\n`;
const SMUGGLED = `GET /api/chat/smuggled HTTP/1.1\r\n${H}${A}\r\n`;

/** Status of the first reply, how many replies came, and what the service saw. */
async function say(
  bytes: string,
): Promise<{ status: string; replies: number; closed: boolean; requests: typeof seen }> {
  const before = seen.length;
  const { text, closed } = await sendRaw(door.port, Buffer.from(bytes, 'latin1'), 400);
  return {
    status: text.slice(9, 12),
    replies: text.match(/HTTP\/1\.1 \d/g)?.length ?? 0,
    closed,
    requests: seen.slice(before),
  };
}

describe('refused, and the connection closed', () => {
  const cases: Record<string, string> = {
    'Content-Length and Transfer-Encoding': post(
      'Content-Length: 6\r\nTransfer-Encoding: chunked\r\n',
      `0\r\n\r\n${SMUGGLED}`,
    ),
    'Transfer-Encoding and Content-Length': post(
      'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n',
      `0\r\n\r\n${SMUGGLED}`,
    ),
    'two Content-Lengths that differ': post('Content-Length: 2\r\nContent-Length: 40\r\n', `{}${SMUGGLED}`),
    'two Content-Lengths alike': post('Content-Length: 2\r\nContent-Length: 2\r\n', '{}'),
    'a list as Content-Length': post('Content-Length: 2, 2\r\n', '{}'),
    'a signed Content-Length': post('Content-Length: +2\r\n', '{}'),
    'a negative Content-Length': post('Content-Length: -2\r\n', '{}'),
    'a hexadecimal Content-Length': post('Content-Length: 0x2\r\n', '{}'),
    'an empty Content-Length': post('Content-Length: \r\n', '{}'),
    'a Content-Length past all numbers': post('Content-Length: 99999999999999999999999\r\n', '{}'),
    'a space before the colon': post('Content-Length : 2\r\n', '{}'),
    'an unknown Transfer-Encoding': post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'),
    'identity after chunked': post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n'),
    'two Transfer-Encodings': post(
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n',
      '0\r\n\r\n',
    ),
    'a vertical tab before chunked': post('Transfer-Encoding:\x0bchunked\r\n', '0\r\n\r\n'),
    'a chunk size that is no number': post('Transfer-Encoding: chunked\r\n', 'zz\r\na\r\n0\r\n\r\n'),
    'a chunk size with 0x': post('Transfer-Encoding: chunked\r\n', '0x2\r\n{}\r\n0\r\n\r\n'),
    'a chunk size past all numbers': post(
      'Transfer-Encoding: chunked\r\n',
      'FFFFFFFFFFFFFFFFF2\r\n{}\r\n0\r\n\r\n',
    ),
    'a chunk that is longer than it says': post('Transfer-Encoding: chunked\r\n', '2\r\n{}XX0\r\n\r\n'),
    'line feeds alone in chunks': post('Transfer-Encoding: chunked\r\n', '2\n{}\n0\n\n'),
    'line feeds alone in the head': 'GET /api/chat/rooms HTTP/1.1\nHost: a\n\n',
    'a carriage return alone in a header': get('/api/chat/rooms', 'Host: a\rX-A: b\r\n'),
    'a folded header': get('/api/chat/rooms', `${H}X-A: 1\r\n  folded\r\n`),
    'a header before the first name': get('/api/chat/rooms', ` X-A: 1\r\n${H}`),
    'NUL in a value': get('/api/chat/rooms', `${H}X-A: a\0b\r\n`),
    'NUL in a name': get('/api/chat/rooms', `${H}X-\0A: b\r\n`),
    'no Host': get('/api/chat/rooms', ''),
    'an empty Host': get('/api/chat/rooms', 'Host:\r\n'),
    'two Hosts': get('/api/chat/rooms', 'Host: a\r\nHost: b\r\n'),
    'two Hosts alike': get('/api/chat/rooms', 'Host: a\r\nHost: a\r\n'),
    'a Host with a path': get('/api/chat/rooms', 'Host: a/evil?x=\r\n'),
    'a Host with a user': get('/api/chat/rooms', 'Host: user@a\r\n'),
    'a Host with a fragment': get('/api/chat/rooms', 'Host: a#b\r\n'),
    'two Authorizations': get('/api/chat/rooms', `${H}Authorization: Bearer other\r\n`),
    'a body on GET': `GET /api/chat/rooms HTTP/1.1\r\n${H}${A}Content-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`,
    'a target in absolute form': get('http://other.example/api/chat/rooms'),
    'a target without a slash': get('api/chat/rooms'),
    'a fragment in the target': get('/api/chat/rooms#x'),
    'a space in the target': get('/api/chat/ro oms'),
    'dot segments above the root': get('/../api/chat/rooms'),
    'dot segments above the root, escaped': get('/api/%2e%2E/%2e%2e/metrics'),
    'a host and port as target': `CONNECT evil.example:80 HTTP/1.1\r\n${H}\r\n`,
    'a backslash in the target': get('/api/chat/..\\..\\metrics'),
    'bytes beyond ASCII in the target': get('/api/chat/caf\xe9'),
    'an encoded slash': get('/api/chat/..%2f..%2fmetrics'),
    'an encoded backslash': get('/api/chat/..%5c..%5cmetrics'),
    'an encoded NUL': get('/api/chat/a%00b'),
    'a broken escape': get('/api/chat/%zz'),
    'an empty segment': get('/api//chat/rooms'),
    'a host as path': get('//evil.example/api/chat/rooms'),
    'chunks in HTTP/1.0': `POST /api/chat/rooms HTTP/1.0\r\n${H}${A}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
  };
  for (const [name, bytes] of Object.entries(cases)) {
    test(name, async () => {
      const { status, replies, closed, requests } = await say(bytes);
      expect(requests).toEqual([]);
      expect(status).toBe('400');
      expect(replies).toBe(1);
      expect(closed).toBe(true);
    });
  }

  test('a head past all measure: 431', async () => {
    expect((await say(get('/api/chat/rooms', `${H}X-A: ${'a'.repeat(40_000)}\r\n`))).status).toBe('431');
    expect((await say(get('/api/chat/rooms', `${H}${'X-A: 1\r\n'.repeat(5_000)}`))).status).toBe('431');
  });

  test('another version: 505', async () => {
    for (const bytes of [`GET /api/chat/rooms HTTP/2.0\r\n${H}\r\n`, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n']) {
      const { status, closed, requests } = await say(bytes);
      expect([status, closed, requests.length]).toEqual(['505', true, 0]);
    }
  });
});

describe('refused, and the connection lives on', () => {
  test('methods that no route has: 405', async () => {
    for (const method of ['TRACE', 'PROPFIND', 'get']) {
      const { status, requests } = await say(`${method} /api/chat/rooms HTTP/1.1\r\n${H}\r\n`);
      expect([method, status, requests.length]).toEqual([method, '405', 0]);
    }
  });

  // Dot segments are removed once, before the rule is looked for: what leaves the service is another path.
  test('paths that leave the service by dot segments: 404', async () => {
    for (const path of ['/api/chat/../../metrics', '/api/chat/%2e%2E/metrics', '/api/chat/..']) {
      const { status, requests } = await say(get(path));
      expect([path, status, requests.length]).toEqual([path, '404', 0]);
    }
  });
});

describe('understood as one request', () => {
  test('chunks with extensions and trailers', async () => {
    const { status, requests } = await say(
      post('Transfer-Encoding: chunked\r\n', '2;x=y\r\n{}\r\n0\r\nX-Role: admin\r\nAuthorization: x\r\n\r\n'),
    );
    expect(status).toBe('200');
    expect(requests).toHaveLength(1);
    expect(requests[0]!.body).toBe('{}');
    expect(requests[0]!.headers['x-role']).toBeUndefined();
    expect(requests[0]!.headers.authorization).toBe(BEARER.authorization);
  });

  test('a request in place of trailers is not a request', async () => {
    const { requests } = await say(post('Transfer-Encoding: chunked\r\n', `2\r\n{}\r\n0\r\nXX${SMUGGLED}`));
    expect(requests.filter(({ url }) => url.includes('smuggled'))).toEqual([]);
  });

  test('two requests sent at once get two answers in order', async () => {
    const { replies, requests } = await say(get('/api/chat/rooms?n=1') + get('/api/chat/rooms?n=2'));
    expect(replies).toBe(2);
    expect(requests.map(({ url }) => url).sort()).toEqual(['/api/chat/rooms?n=1', '/api/chat/rooms?n=2']);
  });

  test('HTTP/1.0 without a Host', async () => {
    const { status, closed } = await say(`GET /api/chat/rooms HTTP/1.0\r\n${A}\r\n`);
    expect([status, closed]).toEqual(['200', true]);
  });

  // RFC 9110, 7.8: who does not speak it ignores the wish. What belongs to it goes no further.
  test('an upgrade to anything but a WebSocket', async () => {
    const { status, requests } = await say(
      `GET /api/chat/rooms HTTP/1.1\r\n${H}${A}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n`,
    );
    expect([status, requests.length]).toEqual(['200', 1]);
    expect(requests[0]!.headers.upgrade).toBeUndefined();
    expect(requests[0]!.headers['http2-settings']).toBeUndefined();
  });

  test('what follows a refused request is not answered', async () => {
    const { replies, requests } = await say(get('/api/chat/%2f') + SMUGGLED);
    expect([replies, requests.length]).toEqual([1, 0]);
  });
});
