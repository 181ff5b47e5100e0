import { afterEach, describe, expect, test } from 'bun:test';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import {
  brotliDecompressSync,
  createGunzip,
  createZstdDecompress,
  gunzipSync,
  zstdDecompressSync,
} from 'node:zlib';
import { BEARER, eventually, sendRaw, sleep, startedForOneTest } from '../testing.ts';
import { acceptableCoding, isCompressible } from './content-coding.ts';

const { stopAll, upstream, gateway } = startedForOneTest();
afterEach(stopAll);

const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' };
const LARGE = JSON.stringify({
  items: Array.from({ length: 200 }, (_, index) => ({ index, title: 'A lesson' })),
});
const DECODE = {
  zstd: zstdDecompressSync,
  br: brotliDecompressSync,
  gzip: gunzipSync,
};

async function before(listener: (request: IncomingMessage, response: ServerResponse) => void) {
  const service = await upstream(listener);
  const door = await gateway({
    upstreams: { profile: service.url, auth: service.url, content: service.url },
  });
  /** The reply as bytes: fetch would decode it. */
  const ask = async (path: string, headers: Record<string, string> = {}, method = 'GET') => {
    const lines = Object.entries({ host: 'school.example', connection: 'close', ...BEARER, ...headers })
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('');
    const { text } = await sendRaw(door.port, `${method} ${path} HTTP/1.1\r\n${lines}\r\n`, 3_000);
    return parse(text);
  };
  return { service, door, ask };
}

function parse(text: string) {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const raw = rest.join('\r\n\r\n');
  const headers = new Headers(
    head
      .split('\r\n')
      .slice(1)
      .map((line): [string, string] => [
        line.slice(0, line.indexOf(':')),
        line.slice(line.indexOf(':') + 1).trim(),
      ]),
  );
  const body = headers.get('transfer-encoding') === 'chunked' ? unchunk(raw) : Buffer.from(raw, 'latin1');
  return { status: Number(head.slice(9, 12)), headers, body };
}

function unchunk(raw: string): Buffer {
  let rest = raw;
  let body = '';
  while (rest !== '') {
    const end = rest.indexOf('\r\n');
    const size = Number.parseInt(rest.slice(0, end), 16);
    if (size === 0) return Buffer.from(body, 'latin1');
    body += rest.slice(end + 2, end + 2 + size);
    rest = rest.slice(end + 4 + size);
  }
  throw new Error('the last chunk is missing');
}

describe('what a client accepts', () => {
  test('weights first, then our own order', () => {
    const coding = (header: string | undefined) => acceptableCoding(header).coding;
    expect(coding(undefined)).toBeUndefined();
    expect(coding('')).toBeUndefined();
    expect(coding('gzip, deflate, br, zstd')).toBe('zstd');
    expect(coding('gzip, deflate, br')).toBe('br');
    expect(coding('deflate')).toBeUndefined();
    expect(coding('gzip;q=1.0, zstd;q=0.5')).toBe('gzip');
    expect(coding('GZIP ; Q=0.3')).toBe('gzip');
    expect(coding('x-gzip')).toBe('gzip');
    expect(coding('*')).toBe('zstd');
    expect(coding('*, zstd;q=0')).toBe('br');
    expect(coding('gzip;q=0, *;q=0')).toBeUndefined();
    expect(coding('gzip;q=0.5, identity')).toBeUndefined();
    expect(coding('gzip;q=0.5, identity;q=0.4')).toBe('gzip');
    // A weight that is none is no wish.
    expect(coding('gzip;q=2')).toBeUndefined();
    expect(coding('gzip;q=0.12345')).toBeUndefined();
  });

  test('whether content as it is would do', () => {
    const identity = (header: string) => acceptableCoding(header).identity;
    expect(identity('gzip')).toBe(true);
    expect(identity('gzip, identity;q=0')).toBe(false);
    expect(identity('gzip, *;q=0')).toBe(false);
    expect(identity('gzip, *;q=0, identity;q=0.1')).toBe(true);
  });

  test('types', () => {
    for (const type of [
      'application/json',
      'application/json; charset=utf-8',
      'application/problem+json',
      'text/html;charset=utf-8',
      'text/csv',
      'image/svg+xml',
      'application/xml',
      'application/atom+xml',
      'text/javascript',
    ])
      expect([type, isCompressible(type)]).toEqual([type, true]);
    for (const type of [
      undefined,
      '',
      'text/event-stream',
      'text/event-stream; charset=utf-8',
      'image/webp',
      'video/mp4',
      'application/pdf',
      'application/octet-stream',
      'application/zip',
      'multipart/byteranges',
      'application/jsonsomething',
    ])
      expect([type, isCompressible(type)]).toEqual([type, false]);
  });
});

describe('compression', () => {
  test('each coding comes back as what it was; the tag is weak, the length gone, Vary said', async () => {
    const { ask } = await before((_, response) =>
      response
        .writeHead(200, {
          ...JSON_TYPE,
          etag: '"one"',
          vary: 'Authorization',
          'accept-ranges': 'bytes',
          'content-length': Buffer.byteLength(LARGE),
        })
        .end(LARGE),
    );
    for (const coding of ['zstd', 'br', 'gzip'] as const) {
      const { headers, body } = await ask('/api/profiles/x', { 'accept-encoding': coding });
      expect(headers.get('content-encoding')).toBe(coding);
      expect(headers.get('etag')).toBe('W/"one"');
      expect(headers.get('content-length')).toBeNull();
      expect(headers.get('accept-ranges')).toBeNull();
      expect(headers.get('vary')).toBe('Accept-Encoding, Authorization');
      expect(body.byteLength).toBeLessThan(LARGE.length / 4);
      expect(DECODE[coding](body).toString()).toBe(LARGE);
    }
    const plain = await ask('/api/profiles/x');
    expect(plain.headers.get('content-encoding')).toBeNull();
    expect(plain.headers.get('etag')).toBe('"one"');
    expect(plain.headers.get('content-length')).toBe(String(LARGE.length));
    expect(plain.headers.get('vary')).toBe('Accept-Encoding, Authorization');
    expect(plain.body.toString()).toBe(LARGE);
    const head = await ask('/api/profiles/x', { 'accept-encoding': 'gzip' }, 'HEAD');
    expect(head.headers.get('content-encoding')).toBeNull();
    expect(head.headers.get('content-length')).toBe(String(LARGE.length));
    expect(head.headers.get('vary')).toContain('Accept-Encoding');
  });

  test('"not modified" has the tag of the form that the client has', async () => {
    const { ask } = await before((request, response) =>
      response.writeHead(request.headers['if-none-match'] ? 304 : 200, { ...JSON_TYPE, etag: '"one"' }).end(),
    );
    const tag = async (ifNoneMatch: string, acceptEncoding: string) => {
      const { status, headers } = await ask('/api/profiles/x', {
        'if-none-match': ifNoneMatch,
        'accept-encoding': acceptEncoding,
      });
      return [status, headers.get('etag')];
    };
    expect(await tag('W/"one"', 'gzip')).toEqual([304, 'W/"one"']);
    expect(await tag('"one"', 'gzip')).toEqual([304, '"one"']);
  });

  test('a tag that was made weak here is strong again for the service: If-Match holds', async () => {
    const { service, ask } = await before((_, response) => response.end('{}'));
    await ask('/api/profiles/me', { 'if-match': 'W/"one", "two"', 'content-length': '0' }, 'PATCH');
    expect(service.requests[0]!.headers['if-match']).toBe('"one", "two"');
  });

  test('leaves alone what is small, compressed, partial, said to be left alone, or of another type', async () => {
    const { ask } = await before((request, response) => {
      const kind = new URL(request.url!, 'http://x').searchParams.get('kind');
      if (kind === 'small') response.writeHead(200, { ...JSON_TYPE, 'content-length': 2 }).end('{}');
      else if (kind === 'compressed')
        response.writeHead(200, { ...JSON_TYPE, 'content-encoding': 'gzip' }).end(Buffer.from(LARGE));
      else if (kind === 'partial')
        response.writeHead(206, { ...JSON_TYPE, 'content-range': 'bytes 0-9/10' }).end(LARGE);
      else if (kind === 'no-transform')
        response.writeHead(200, { ...JSON_TYPE, 'cache-control': 'private, no-transform' }).end(LARGE);
      else if (kind === 'digest')
        response.writeHead(200, { ...JSON_TYPE, 'content-digest': 'sha-256=:x:' }).end(LARGE);
      else if (kind === 'image') response.writeHead(200, { 'content-type': 'image/webp' }).end(LARGE);
      else response.writeHead(200).end(LARGE);
    });
    for (const kind of ['small', 'compressed', 'partial', 'no-transform', 'digest', 'image', 'none']) {
      const { headers, body } = await ask(`/api/profiles/x?kind=${kind}`, { 'accept-encoding': 'br' });
      expect([kind, headers.get('content-encoding')]).toEqual([kind, kind === 'compressed' ? 'gzip' : null]);
      expect([kind, body.toString()]).toEqual([kind, kind === 'small' ? '{}' : LARGE]);
    }
    // Unless nothing else is accepted.
    const forced = await ask('/api/profiles/x?kind=small', { 'accept-encoding': 'gzip, identity;q=0' });
    expect(gunzipSync(forced.body).toString()).toBe('{}');
  });

  test('never what has a secret in it: secret routes and replies that set a cookie (BREACH)', async () => {
    const { ask } = await before((request, response) =>
      response
        .writeHead(200, { ...JSON_TYPE, ...(request.url!.includes('cookie') ? { 'set-cookie': 'a=b' } : {}) })
        .end(LARGE),
    );
    const coding = async (method: string, path: string) =>
      (await ask(path, { 'accept-encoding': 'br, gzip, zstd', 'content-length': '0' }, method)).headers.get(
        'content-encoding',
      );
    for (const path of ['/api/auth/login', '/api/auth/refresh', '/api/auth/register', '/api/auth/logout'])
      expect([path, await coding('POST', path)]).toEqual([path, null]);
    expect(await coding('GET', '/api/auth/me')).toBeNull();
    expect(await coding('POST', '/api/content/files/1/links')).toBeNull();
    expect(await coding('GET', '/api/profiles/x?cookie')).toBeNull();
    expect(await coding('GET', '/api/profiles/x')).toBe('zstd');
    expect(await coding('GET', '/.well-known/jwks.json')).toBe('zstd');
  });

  test('what comes bit by bit is sent on bit by bit', async () => {
    let send: (text: string) => void = () => {};
    let end = (): void => {};
    const { door } = await before((_, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      send = (text) => void response.write(text);
      end = () => void response.end();
      send('{"first":1}\n');
    });
    const reply = await fetch(`${door.url}/api/profiles/x`, {
      headers: { ...BEARER, 'accept-encoding': 'gzip' },
      decompress: false,
    } as RequestInit);
    expect(reply.headers.get('content-encoding')).toBe('gzip');
    const unzip = createGunzip();
    let seen = '';
    unzip.on('data', (piece: Buffer) => {
      seen += piece;
    });
    const reading = (async () => {
      for await (const piece of reply.body!) unzip.write(piece);
    })();
    await eventually(() => seen === '{"first":1}\n');
    send('{"second":2}\n');
    await eventually(() => seen === '{"first":1}\n{"second":2}\n');
    end();
    await reading;
  });

  test('a large body goes through a stream, whole, for a client that reads slowly too', async () => {
    const block = Buffer.from(LARGE.repeat(20));
    const rounds = 64;
    const { door } = await before(async (_, response) => {
      response.writeHead(200, { ...JSON_TYPE, 'content-length': block.byteLength * rounds });
      for (let round = 0; round < rounds; round++) {
        if (!response.write(block)) await new Promise((resolve) => response.once('drain', resolve));
      }
      response.end();
    });
    const reply = await fetch(`${door.url}/api/profiles/x`, {
      headers: { ...BEARER, 'accept-encoding': 'zstd' },
      decompress: false,
    } as RequestInit);
    expect(reply.headers.get('content-encoding')).toBe('zstd');
    const decoder = createZstdDecompress();
    let size = 0;
    let wrong = 0;
    decoder.on('data', (piece: Buffer) => {
      for (let index = 0; index < piece.byteLength; index += 997)
        if (piece[index] !== block[(size + index) % block.byteLength]) wrong++;
      size += piece.byteLength;
    });
    let pieces = 0;
    for await (const piece of reply.body!) {
      if (pieces++ % 4 === 0) await sleep(5);
      if (!decoder.write(piece)) await new Promise((resolve) => decoder.once('drain', resolve));
    }
    await new Promise<void>((resolve) => decoder.end(resolve));
    await eventually(() => size === block.byteLength * rounds);
    expect(wrong).toBe(0);
  });

  test('a client that does not read holds the service back, and one that leaves ends it', async () => {
    let sent = 0;
    let closed = false;
    // Random digits compress badly: what is sent is about what arrives.
    const block = Buffer.from(
      Array.from({ length: 100_000 }, () => Math.random().toString(36).slice(2)).join(''),
    );
    const { door } = await before(async (_, response) => {
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.on('close', () => {
        closed = true;
      });
      while (!closed) {
        sent += block.byteLength;
        if (!response.write(block))
          await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
      }
    });
    const socket = connect(door.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      'GET /api/profiles/x HTTP/1.1\r\nhost: school.example\r\nauthorization: Bearer good\r\naccept-encoding: gzip\r\n\r\n',
    );
    await new Promise((resolve) => socket.once('readable', resolve));
    let last = -1;
    await eventually(async () => {
      const stands = sent === last;
      last = sent;
      await sleep(300);
      return stands;
    }, 15_000);
    expect(closed).toBe(false);
    // What the kernel's buffers take, and little more.
    expect(sent).toBeLessThan(40_000_000);
    socket.destroy();
    await eventually(() => closed);
  }, 30_000);

  test('a service that dies in the middle breaks the connection off', async () => {
    const { door } = await before((_, response) => {
      response.writeHead(200, { ...JSON_TYPE, 'content-length': 1_000_000 });
      response.write(LARGE);
      setTimeout(() => response.destroy(), 50);
    });
    const { text, closed } = await sendRaw(
      door.port,
      'GET /api/profiles/x HTTP/1.1\r\nhost: a.example\r\nauthorization: Bearer good\r\naccept-encoding: gzip\r\n\r\n',
      3_000,
    );
    expect(closed).toBe(true);
    expect(text.endsWith('0\r\n\r\n')).toBe(false);
  });

  test('events are neither compressed nor held back', async () => {
    let send: (text: string) => void = () => {};
    const { door } = await before((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      send = (text) => void response.write(text);
      send('data: 1\n\n');
    });
    const abort = new AbortController();
    const reply = await fetch(`${door.url}/api/profiles/x`, {
      headers: { ...BEARER, 'accept-encoding': 'gzip, br, zstd' },
      signal: abort.signal,
    });
    expect(reply.headers.get('content-encoding')).toBeNull();
    const reader = reply.body!.getReader();
    const next = async () => Buffer.from((await reader.read()).value!).toString();
    expect(await next()).toBe('data: 1\n\n');
    send('data: 2\n\n');
    expect(await next()).toBe('data: 2\n\n');
    abort.abort();
  });

  test('our own pages and the reference come compressed too', async () => {
    const { door, ask } = await before((_, response) => response.end('{}'));
    const plain = await (await fetch(`${door.url}/docs/swagger-ui.css`)).text();
    for (const coding of ['zstd', 'br', 'gzip'] as const) {
      const { headers, body } = await ask('/docs/swagger-ui.css', { 'accept-encoding': coding });
      expect(headers.get('content-encoding')).toBe(coding);
      expect(headers.get('content-length')).toBe(String(body.byteLength));
      expect(DECODE[coding](body).toString()).toBe(plain);
      const again = await ask('/docs/swagger-ui.css', {
        'accept-encoding': coding,
        'if-none-match': headers.get('etag')!,
      });
      expect([again.status, again.headers.get('etag')]).toEqual([304, headers.get('etag')]);
    }
    const document = await ask('/openapi.json', { 'accept-encoding': 'identity' });
    expect(document.headers.get('vary')).toContain('Accept-Encoding');
  });
});
