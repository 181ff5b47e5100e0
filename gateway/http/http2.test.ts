import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { eventually, sleep, startedForOneTest } from '../testing.ts';

const { stops, stopAll, upstream, gateway } = startedForOneTest();
afterEach(stopAll);

let folder = '';
const file = (name: string): string => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lyceum-http2-'));
  execFileSync('openssl', [
    ...'req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=school.example'.split(
      ' ',
    ),
    ...['-keyout', file('key'), '-out', file('cert')],
  ]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type GatewaySettings = NonNullable<Parameters<typeof gateway>[0]>;

async function before(
  listener: (request: IncomingMessage, response: ServerResponse) => void,
  settings: GatewaySettings = {},
) {
  const service = await upstream(listener);
  const door = await gateway({
    upstreams: { profile: service.url, content: service.url },
    ...settings,
    env: {
      PUBLIC_URL: 'https://school.example',
      TLS_CERT_FILE: file('cert'),
      TLS_KEY_FILE: file('key'),
      HTTP2: 'on',
      ...settings.env,
    },
  });
  const open = (): ClientHttp2Session => {
    const session = connect(`https://127.0.0.1:${door.port}`, { rejectUnauthorized: false });
    session.on('error', () => {});
    stops.push(async () => session.destroy());
    return session;
  };
  return { service, door, open };
}

const TOKEN = { authorization: 'Bearer good' };

/** One request; rejects when its stream is reset. */
function ask(session: ClientHttp2Session, headers: Record<string, string>, body?: Uint8Array | string) {
  return new Promise<{ status: number; headers: Record<string, unknown>; text: string }>(
    (resolve, reject) => {
      const stream = session.request({ ':path': '/api/profiles/me', ...TOKEN, ...headers });
      let reply: Record<string, unknown> = {};
      let text = '';
      stream.on('response', (all) => {
        reply = all as Record<string, unknown>;
      });
      stream.on('data', (piece: Buffer) => {
        text += piece.toString('latin1');
      });
      stream.on('error', reject);
      stream.on('close', () =>
        reply[':status'] === undefined
          ? reject(new Error(`reset with ${stream.rstCode}`))
          : resolve({ status: Number(reply[':status']), headers: reply, text }),
      );
      stream.end(body);
    },
  );
}

describe('HTTP/2', () => {
  test('goes the same way: route, token, limit, headers, service, many at once on one connection', async () => {
    const { service, open } = await before((request, response) =>
      response
        .writeHead(200, { 'content-type': 'text/plain', 'set-cookie': ['a=1', 'b=2'], connection: 'close' })
        .end(request.url),
    );
    const session = open();
    const replies = await Promise.all(
      Array.from({ length: 50 }, (_, index) => ask(session, { ':path': `/api/profiles/x?${index}` })),
    );
    for (const [index, { status, text, headers }] of replies.entries()) {
      expect([status, text]).toEqual([200, `/api/profiles/x?${index}`]);
      expect(headers['set-cookie']).toEqual(['a=1', 'b=2']);
      expect(headers['x-request-id']).toBeDefined();
      expect(headers['strict-transport-security']).toBeDefined();
      expect(headers['ratelimit-remaining']).toBeDefined();
      expect(headers.connection).toBeUndefined();
      expect(headers['transfer-encoding']).toBeUndefined();
    }
    expect(service.requests[0]!.headers['x-forwarded-proto']).toBe('https');
    expect(service.requests[0]!.headers['x-forwarded-host']).toStartWith('127.0.0.1:');
    const refused = await ask(session, { authorization: 'Bearer expired' });
    expect([refused.status, (JSON.parse(refused.text) as { code: string }).code]).toEqual([
      401,
      'token-expired',
    ]);
    expect((await ask(session, { ':path': '/nowhere' })).status).toBe(404);
    expect((await ask(session, { ':path': '/api/profiles/%2e%2e/%2e%2e/metrics' })).status).not.toBe(200);
  });

  test('HTTP/1.1 and sockets go on beside it', async () => {
    const { door } = await before((_, response) => response.end('one'));
    const reply = await fetch(`https://127.0.0.1:${door.port}/api/profiles/me`, {
      headers: TOKEN,
      tls: { rejectUnauthorized: false },
    } as RequestInit);
    expect(await reply.text()).toBe('one');
  });

  test('bodies pass up and down, whole, of known and unknown length', async () => {
    const size = 8 * 1_048_576;
    const { open } = await before(async (request, response) => {
      let received = 0;
      for await (const piece of request) received += (piece as Buffer).byteLength;
      response.writeHead(200, { 'x-received': String(received) });
      for (let sent = 0; sent < size; sent += 65_536) {
        if (!response.write(Buffer.alloc(65_536, 'y')))
          await new Promise((resolve) => response.once('drain', resolve));
      }
      response.end();
    });
    const session = open();
    const upload = { ':path': '/api/content/files?name=a', ':method': 'POST' };
    const lengths: Record<string, string>[] = [{}, { 'content-length': String(size) }];
    for (const length of lengths) {
      const reply = await ask(session, { ...upload, ...length }, Buffer.alloc(size, 'x'));
      expect(reply.headers['x-received']).toBe(String(size));
      expect(reply.text.length).toBe(size);
    }
    const small = await ask(session, { ':path': '/api/profiles/me', ':method': 'PATCH' }, '{"a":1}');
    expect(small.headers['x-received']).toBe('7');
  });

  test('HEAD, 204 and 304 have no body; a body is refused by its length before it is sent', async () => {
    const { open } = await before((request, response) => {
      const status = Number(request.url!.split('?')[1]);
      response
        .writeHead(status, status === 200 ? { 'content-length': 5 } : {})
        .end(status === 200 ? 'hello' : '');
    });
    const session = open();
    const head = await ask(session, { ':path': '/api/profiles/x?200', ':method': 'HEAD' });
    expect([head.status, head.text, head.headers['content-length']]).toEqual([200, '', '5']);
    for (const status of [204, 304])
      expect((await ask(session, { ':path': `/api/profiles/x?${status}` })).status).toBe(status);
    const large = await ask(session, {
      ':path': '/api/profiles/me',
      ':method': 'PATCH',
      'content-length': '2000000',
    }).catch(({ message }) => message);
    expect(typeof large === 'string' ? large : large.status).not.toBe(200);
  });

  test('a client that does not read holds the service back; one that goes away ends it', async () => {
    let sent = 0;
    let closed = false;
    const { open } = await before(async (_, response) => {
      response.on('close', () => {
        closed = true;
      });
      response.writeHead(200);
      while (!closed) {
        sent += 65_536;
        if (!response.write(Buffer.alloc(65_536)))
          await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
      }
    });
    const session = open();
    const stream = session.request({ ':path': '/api/profiles/x', ...TOKEN });
    stream.on('error', () => {});
    stream.pause();
    await eventually(() => sent > 0);
    let last = -1;
    await eventually(async () => {
      const stands = sent === last;
      last = sent;
      await sleep(300);
      return stands;
    }, 15_000);
    expect(sent).toBeLessThan(40_000_000);
    // Others on the same connection are not held up.
    stream.close(constants.NGHTTP2_CANCEL);
    await eventually(() => closed);
  }, 30_000);

  test('a service that dies in the middle resets the stream and nothing else', async () => {
    const { open } = await before((request, response) => {
      if (request.url!.includes('die')) {
        response.writeHead(200, { 'content-length': 1_000 });
        response.write('half');
        setTimeout(() => response.destroy(), 30);
      } else {
        response.end('fine');
      }
    });
    const session = open();
    const died = ask(session, { ':path': '/api/profiles/x?die' }).then(
      ({ text }) => (text.length === 4 ? 'short' : 'whole'),
      () => 'reset',
    );
    expect((await ask(session, {})).text).toBe('fine');
    expect(['reset', 'short']).toContain(await died);
    expect((await ask(session, {})).text).toBe('fine');
  });

  test('stopping lets streams end and takes no more', async () => {
    const { door, open, service } = await before(async (_, response) => {
      await sleep(300);
      response.end('late');
    });
    const session = open();
    const inHand = ask(session, {});
    await eventually(() => service.requests.length === 1);
    const stopped = door.stop(3_000);
    expect((await inHand).text).toBe('late');
    await stopped;
    await eventually(() => session.closed || session.destroyed);
  });

  test('an idle connection is ended', async () => {
    const { open } = await before((_, response) => response.end('one'), {
      timings: { keepAliveMs: 200, sweepMs: 50 },
    });
    const session = open();
    await ask(session, {});
    await eventually(() => session.closed || session.destroyed);
  });

  test('who opens streams only to take them back is shown the door', async () => {
    const { service, open } = await before(
      (_, response) => void setTimeout(() => response.end('one'), 1_000),
    );
    const session = open();
    for (let count = 0; count < 2_000 && !session.closed && !session.destroyed; count++) {
      const stream = session.request({ ':path': '/api/profiles/x', ...TOKEN });
      stream.on('error', () => {});
      stream.close(constants.NGHTTP2_CANCEL);
      if (count % 50 === 49) await sleep(10);
    }
    await eventually(() => session.closed || session.destroyed);
    expect(service.requests.length).toBeLessThan(1_000);
    expect((await ask(open(), { ':path': '/healthz' })).status).toBe(200);
  });
});

describe('frames that no client library sends', () => {
  const frame = (
    type: number,
    flags: number,
    stream: number,
    payload: Uint8Array = Buffer.alloc(0),
  ): Buffer => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.byteLength, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, payload]);
  };
  /** RFC 7541, 6.2.2: literals that nobody remembers. */
  const headerBlock = (fields: [string, string][]): Buffer =>
    Buffer.concat(
      fields.flatMap(([name, value]) => [
        Buffer.from([0]),
        ...[name, value].flatMap((text) => [Buffer.from([text.length]), Buffer.from(text, 'latin1')]),
      ]),
    );
  const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const GET: [string, string][] = [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/api/profiles/avatars/1/small'],
    [':authority', 'a.example'],
  ];
  const END_STREAM = 1;
  const END_HEADERS = 4;

  /** Sends frames on a connection of their own; what came until `ms` passed or it was closed. */
  async function send(port: number, frames: Buffer[], ms = 500): Promise<{ bytes: Buffer; closed: boolean }> {
    const socket = await new Promise<TLSSocket>((resolve) => {
      const opened = connectTls(
        { host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['h2'] },
        () => resolve(opened),
      );
    });
    const pieces: Buffer[] = [];
    let closed = false;
    socket.on('data', (piece: Buffer) => pieces.push(piece));
    socket.on('error', () => {});
    socket.on('close', () => {
      closed = true;
    });
    socket.write(Buffer.concat([PREFACE, frame(4, 0, 0), ...frames]));
    const until = performance.now() + ms;
    while (!closed && performance.now() < until) await sleep(10);
    socket.destroy();
    return { bytes: Buffer.concat(pieces), closed };
  }

  test('nothing in a header can become a line, or another request, of HTTP/1.1', async () => {
    const { service, door } = await before((_, response) => response.end('{}'));
    const request = (fields: [string, string][]) => [
      frame(1, END_STREAM | END_HEADERS, 1, headerBlock(fields)),
    ];
    const replaced = (name: string, value: string): [string, string][] =>
      GET.map(([key, before]) => [key, key === name ? value : before]);
    await send(door.port, request(GET));
    expect(service.requests).toHaveLength(1);
    for (const fields of [
      [...GET, ['x-a', 'b\r\nx-user-id: 1']],
      [...GET, ['x-a', 'b\nx-user-id: 1']],
      [...GET, ['x-a: b\r\nx-c', 'd']],
      [...GET, ['x-a:', 'd']],
      [...GET, ['transfer-encoding', 'chunked']],
      [...GET, ['connection', 'keep-alive']],
      [...GET, ['upgrade', 'websocket']],
      [...GET, ['host', 'other.example']],
      [...GET, ['content-length', '5']],
      [...GET, ['te', 'chunked']],
      replaced(':method', 'GET / HTTP/1.1\r\nhost: x\r\n\r\nGET'),
      replaced(':method', 'GET /'),
      replaced(':path', '/a HTTP/1.1\r\nhost: x\r\n\r\nGET /b'),
      replaced(':path', '/a HTTP/1.0'),
      replaced(':path', '/metrics\u0000'),
      replaced(':path', ''),
      replaced(':authority', 'a.example\r\nx-user-id: 1'),
      replaced(':authority', 'a.example/evil'),
      replaced(':scheme', 'ftp'),
    ] as [string, string][][]) {
      await send(door.port, request(fields), 100);
      expect([JSON.stringify(fields.at(-1)), service.requests.length]).toEqual([
        JSON.stringify(fields.at(-1)),
        1,
      ]);
    }
  });

  test('a body of another length than it was said is no request, nor two', async () => {
    const { service, door } = await before((_, response) => response.end('{}'));
    const post: [string, string][] = [
      [':method', 'POST'],
      [':scheme', 'https'],
      [':path', '/api/profiles/me'],
      [':authority', 'a.example'],
      ['authorization', 'Bearer good'],
      ['content-length', '4'],
    ];
    const withBody = (text: string) => [
      frame(1, END_HEADERS, 1, headerBlock(post)),
      frame(0, END_STREAM, 1, Buffer.from(text)),
    ];
    await send(door.port, withBody('fine'));
    expect(service.requests).toHaveLength(1);
    await send(door.port, withBody('no'));
    await send(door.port, withBody('evilGET /api/profiles/me HTTP/1.1\r\nhost: a\r\n\r\n'));
    expect(service.requests.filter(({ method }) => method === 'GET')).toHaveLength(0);
    expect(service.requests.length).toBeLessThanOrEqual(2);
  });

  test('heads without end, too many of them, and nonsense harm nobody else', async () => {
    const { door, open } = await before((_, response) => response.end('{}'));
    const block = headerBlock(GET);
    // CONTINUATION frames for ever (CVE-2024-27316).
    const filler = headerBlock(Array.from({ length: 100 }, () => ['x-filler', 'y'.repeat(100)]));
    await send(
      door.port,
      [frame(1, 0, 1, block), ...Array.from({ length: 500 }, () => frame(9, 0, 1, filler))],
      1_500,
    );
    const streams = Array.from({ length: 1_000 }, (_, index) =>
      frame(1, END_STREAM | END_HEADERS, index * 2 + 1, block),
    );
    await send(door.port, streams, 1_500);
    await send(door.port, [frame(0, 0, 0, Buffer.alloc(10)), frame(200, 255, 7, Buffer.alloc(10))]);
    await send(door.port, [Buffer.alloc(100_000, 0xff)]);
    await send(
      door.port,
      Array.from({ length: 20_000 }, () => frame(6, 0, 0, Buffer.alloc(8))),
      1_000,
    );
    const { status } = await ask(open(), { ':path': '/healthz' });
    expect(status).toBe(200);
    await eventually(async () => {
      const metrics = await (await fetch(`${door.internalUrl}/metrics`)).text();
      return /^lyceum_gateway_requests_in_flight\{.*\} 0$/m.test(metrics);
    });
  });
});
