import { afterEach, describe, expect, test } from 'bun:test';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { openMemoryStore } from '../../shared/adapters/ephemeral-store/memory.ts';
import { purgeGatewayCaches } from '../../shared/ports/gateway-purge.ts';
import { lifetimeOf } from '../cache/freshness.ts';
import type { ResponseHead } from '../http/head.ts';
import { BEARER, eventually, sendRaw, sleep, startedForOneTest } from '../testing.ts';

const { stopAll, upstream, gateway } = startedForOneTest();
afterEach(stopAll);

type Listener = (request: IncomingMessage, response: ServerResponse) => void;
type GatewaySettings = NonNullable<Parameters<typeof gateway>[0]>;

/** A gateway before a service; `ask` gives status, what Cache-Status says, and the text. */
async function before(listener: Listener, settings: GatewaySettings = {}) {
  const service = await upstream(listener);
  const door = await gateway({ upstreams: { profile: service.url, content: service.url }, ...settings });
  const ask = async (path: string, headers: Record<string, string> = {}, method = 'GET') => {
    const reply = await fetch(door.url + path, { method, headers });
    return {
      status: reply.status,
      how: (reply.headers.get('cache-status') ?? '').replace('lyceum; ', ''),
      headers: reply.headers,
      text: await reply.text(),
    };
  };
  return { service, door, ask };
}

/** A public picture, as far as the routing table goes. */
const PATH = '/api/profiles/avatars/1/small';
const says = (control: string, more: Record<string, string> = {}): Listener => {
  let count = 0;
  return (_, response) =>
    void response
      .writeHead(200, { 'cache-control': control, 'content-type': 'text/plain', ...more })
      .end(`reply ${++count}`);
};

describe('what may be kept', () => {
  const head = (headers: Record<string, string>, status = 200): ResponseHead => ({
    status,
    reason: '',
    minor: 1,
    headers: Object.entries(headers).flat(),
    contentLength: 3,
    chunked: false,
    keepAlive: true,
    upgrade: '',
    hopByHop: [],
    reuse: undefined,
  });
  const lifetime = (control: string, more: Record<string, string> = {}, status = 200) =>
    lifetimeOf(head({ 'cache-control': control, ...more }, status));

  test('only what says public and a time', () => {
    expect(lifetime('public, max-age=60')).toMatchObject({ freshMs: 60_000, staleWhileRevalidateMs: 0 });
    expect(lifetime('Public, Max-Age="60"')).toMatchObject({ freshMs: 60_000 });
    expect(lifetime('public, max-age=60, s-maxage=5')).toMatchObject({ freshMs: 5_000 });
    expect(lifetime('public, max-age=1, stale-while-revalidate=2, stale-if-error=3')).toEqual({
      freshMs: 1_000,
      staleWhileRevalidateMs: 2_000,
      staleIfErrorMs: 3_000,
      ageMs: 0,
    });
    expect(lifetime('public, max-age=1, stale-if-error=3, must-revalidate')).toMatchObject({
      staleIfErrorMs: 0,
    });
    expect(lifetime('public, max-age=60', { age: '20' })).toMatchObject({ ageMs: 20_000 });
    expect(lifetime('public, max-age=60', {}, 404)).toBeDefined();
    expect(lifetime('public, max-age=60', {}, 301)).toBeDefined();
  });

  test('nothing else', () => {
    for (const control of [
      '',
      'max-age=60',
      'public',
      'public, max-age=0',
      'public, max-age=-1',
      'public, max-age=a',
      'public, max-age=60, private',
      'public, max-age=60, no-store',
      'public, max-age=60, no-cache',
      'private="x-user", public, max-age=60',
    ])
      expect([control, lifetime(control)]).toEqual([control, undefined]);
    expect(lifetime('public, max-age=60', { 'set-cookie': 'a=b' })).toBeUndefined();
    expect(lifetime('public, max-age=60', { vary: 'accept, *' })).toBeUndefined();
    expect(lifetime('public, max-age=60', { age: '60' })).toBeUndefined();
    for (const status of [201, 206, 302, 403, 500, 503])
      expect([status, lifetime('public, max-age=60', {}, status)]).toEqual([status, undefined]);
    // Nobody knows whether it is whole.
    expect(
      lifetimeOf({ ...head({ 'cache-control': 'public, max-age=60' }), contentLength: -1 }),
    ).toBeUndefined();
  });
});

describe('the response cache', () => {
  test('asks once, then answers with Age; HEAD too; the query counts', async () => {
    const { service, ask } = await before(says('public, max-age=60', { 'x-made-by': 'service' }));
    const first = await ask(PATH);
    expect([first.text, first.how]).toEqual(['reply 1', 'fwd=uri-miss; fwd-status=200; stored']);
    expect(first.headers.get('age')).toBeNull();
    const second = await ask(PATH);
    expect(second.text).toBe('reply 1');
    expect(second.how).toMatch(/^hit; ttl=(60|59)$/);
    expect(second.headers.get('age')).toMatch(/^[01]$/);
    expect(second.headers.get('x-made-by')).toBe('service');
    expect(second.headers.get('content-length')).toBe('7');
    expect(second.headers.get('x-request-id')).not.toBe(first.headers.get('x-request-id'));
    expect(second.headers.get('ratelimit-remaining')).not.toBeNull();
    const head = await ask(PATH, {}, 'HEAD');
    expect([head.text, head.headers.get('content-length')]).toEqual(['', '7']);
    expect(head.how).toMatch(/^hit/);
    expect((await ask(`${PATH}?v=2`)).text).toBe('reply 2');
    expect(service.requests).toHaveLength(2);
  });

  test('what is private, has a cookie, or says nothing is asked for each time', async () => {
    const { service, ask } = await before((request, response) => {
      const control = decodeURIComponent(request.url!.split('?')[1]!);
      response
        .writeHead(200, {
          ...(control === 'none' ? {} : { 'cache-control': control.replace('+cookie', '') }),
          ...(control.endsWith('+cookie') ? { 'set-cookie': 'a=b' } : {}),
        })
        .end('x');
    });
    let asked = 0;
    for (const control of [
      'none',
      'private, max-age=60',
      'no-store',
      'max-age=60',
      'public, max-age=60+cookie',
    ]) {
      for (let round = 0; round < 3; round++) {
        const { how } = await ask(`${PATH}?${encodeURIComponent(control)}`);
        expect([control, how]).toEqual([control, 'fwd=uri-miss']);
        expect(service.requests).toHaveLength(++asked);
      }
    }
  });

  test('a token or a cookie in the request: neither from the cache nor into it', async () => {
    const { service, ask } = await before(says('public, max-age=60'));
    const path = '/api/content/courses';
    expect((await ask(path, BEARER)).how).toBe('');
    expect((await ask(path, { cookie: 'a=b' })).how).toBe('');
    expect((await ask(path)).text).toBe('reply 3');
    expect((await ask(path)).text).toBe('reply 3');
    expect((await ask(path, BEARER)).text).toBe('reply 4');
    expect((await ask(path, { cookie: 'a=b' })).text).toBe('reply 5');
    // A token is needed: never, whatever the service says.
    expect((await ask('/api/content/lessons/1', BEARER)).text).toBe('reply 6');
    expect((await ask('/api/content/lessons/1', BEARER)).text).toBe('reply 7');
    expect(service.requests).toHaveLength(7);
  });

  test('who has it already is told so by the cache', async () => {
    const modified = new Date(Date.now() - 60_000).toUTCString();
    const { service, ask } = await before(
      says('public, max-age=60', { etag: '"one"', 'last-modified': modified }),
    );
    await ask(PATH);
    const same = await ask(PATH, { 'if-none-match': 'W/"zero", "one"' });
    expect([same.status, same.text, same.headers.get('etag')]).toEqual([304, '', '"one"']);
    expect(same.headers.get('content-type')).toBeNull();
    expect(same.headers.get('cache-control')).toBe('public, max-age=60');
    expect((await ask(PATH, { 'if-none-match': '"two"' })).status).toBe(200);
    expect((await ask(PATH, { 'if-modified-since': modified })).status).toBe(304);
    expect((await ask(PATH, { 'if-modified-since': new Date(0).toUTCString() })).status).toBe(200);
    expect(service.requests).toHaveLength(1);
  });

  test('Vary: one reply for each value of the headers it names', async () => {
    let count = 0;
    const { service, ask } = await before((request, response) =>
      response
        .writeHead(200, { 'cache-control': 'public, max-age=60', vary: 'Accept-Language, X-Kind' })
        .end(`${request.headers['accept-language']} ${++count}`),
    );
    const text = async (language: string, kind = '') =>
      (await ask(PATH, { 'accept-language': language, ...(kind ? { 'x-kind': kind } : {}) })).text;
    expect(await text('de')).toBe('de 1');
    expect(await text('en')).toBe('en 2');
    expect(await text('de')).toBe('de 1');
    expect(await text('de', 'a')).toBe('de 3');
    expect(await text('en')).toBe('en 2');
    expect((await ask(PATH, { 'accept-language': 'fr' })).how).toBe('fwd=vary-miss; fwd-status=200; stored');
    expect(service.requests).toHaveLength(4);
  });

  test('ranges go to the service', async () => {
    const { service, ask } = await before(says('public, max-age=60'));
    await ask(PATH);
    const range = await ask(PATH, { range: 'bytes=0-1' });
    expect([range.how, range.text]).toEqual(['fwd=bypass', 'reply 2']);
    expect(service.requests).toHaveLength(2);
  });

  test('a client can neither make it ask anew nor choose what others get by its Host', async () => {
    const { service, door, ask } = await before((request, response) =>
      response
        .writeHead(200, { 'cache-control': 'public, max-age=60' })
        .end(String(request.headers['x-forwarded-host'])),
    );
    await ask(PATH);
    await ask(PATH, { 'cache-control': 'no-cache', pragma: 'no-cache' });
    expect(service.requests).toHaveLength(1);
    const evil = await sendRaw(
      door.port,
      `GET ${PATH} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n`,
    );
    expect(evil.text).toContain('evil.example');
    expect((await ask(PATH)).text).toBe(`127.0.0.1:${door.port}`);
  });

  test('compresses what it keeps, once for each coding', async () => {
    const text = 'the same again and again. '.repeat(400);
    const { service, door } = await before((_, response) =>
      response
        .writeHead(200, {
          'cache-control': 'public, max-age=60',
          'content-type': 'text/plain',
          etag: '"one"',
        })
        .end(text),
    );
    const raw = async (acceptEncoding: string) =>
      (
        await sendRaw(
          door.port,
          `GET ${PATH} HTTP/1.1\r\nhost: a.example\r\naccept-encoding: ${acceptEncoding}\r\nconnection: close\r\n\r\n`,
        )
      ).text;
    expect(await raw('gzip')).toContain('fwd=uri-miss');
    for (let round = 0; round < 2; round++) {
      const hit = await raw('gzip');
      expect(hit).toContain('cache-status: lyceum; hit');
      expect(hit).toContain('content-encoding: gzip');
      expect(hit).toContain('etag: W/"one"');
      expect(hit).toContain('vary: Origin, Accept-Encoding');
      const body = Buffer.from(hit.slice(hit.indexOf('\r\n\r\n') + 4), 'latin1');
      expect(hit).toContain(`content-length: ${body.byteLength}\r\n`);
      expect(gunzipSync(body).toString()).toBe(text);
    }
    expect(await raw('identity')).toContain(text);
    expect(service.requests).toHaveLength(1);
  });
});

describe('many ask at once', () => {
  test('one fetches, the others wait and get the same', async () => {
    const { service, ask } = await before((_, response) => {
      setTimeout(() => response.writeHead(200, { 'cache-control': 'public, max-age=60' }).end('one'), 150);
    });
    const replies = await Promise.all(Array.from({ length: 20 }, () => ask(PATH)));
    expect(service.requests).toHaveLength(1);
    expect(new Set(replies.map(({ text }) => text))).toEqual(new Set(['one']));
    expect(replies.filter(({ how }) => how === 'fwd=uri-miss; collapsed')).toHaveLength(19);
  });

  test('what turns out not to be kept lets the others through as soon as that is known', async () => {
    const ends: (() => void)[] = [];
    const { service, ask } = await before((_, response) => {
      response.writeHead(200, { 'cache-control': 'no-store' });
      response.write('a');
      ends.push(() => void response.end());
    });
    const replies = Promise.all(Array.from({ length: 5 }, () => ask(PATH)));
    // All five have been sent on, though none has ended.
    await eventually(() => service.requests.length === 5 && ends.length === 5);
    for (const end of ends) end();
    for (const { text } of await replies) expect(text).toBe('a');
  });

  test('a fetch that fails lets the others through', async () => {
    let count = 0;
    const { service, ask } = await before((_, response) => {
      const first = ++count === 1;
      setTimeout(() => {
        if (first) response.writeHead(500).end('no');
        else response.writeHead(200, { 'cache-control': 'public, max-age=60' }).end('yes');
      }, 100);
    });
    const replies = await Promise.all(Array.from({ length: 4 }, () => ask(PATH)));
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 200, 200, 500]);
    expect(service.requests).toHaveLength(4);
  });

  test('the one who fetches leaves: the next one does', async () => {
    const { service, door, ask } = await before((_, response) => {
      setTimeout(() => response.writeHead(200, { 'cache-control': 'public, max-age=60' }).end('one'), 200);
    });
    const first = connect(door.port, '127.0.0.1');
    first.on('error', () => {});
    first.write(`GET ${PATH} HTTP/1.1\r\nhost: 127.0.0.1:${door.port}\r\n\r\n`);
    await eventually(() => service.requests.length === 1);
    const replies = Promise.all(Array.from({ length: 5 }, () => ask(PATH)));
    await sleep(50);
    first.resetAndDestroy();
    for (const { text } of await replies) expect(text).toBe('one');
    expect(service.requests).toHaveLength(2);
  });

  test('a slow client that fetches does not hold up those who wait', async () => {
    const body = Buffer.alloc(900_000, 'x');
    const { service, door, ask } = await before((_, response) =>
      response
        .writeHead(200, { 'cache-control': 'public, max-age=60', 'content-length': body.byteLength })
        .end(body),
    );
    const slow = connect({ port: door.port, host: '127.0.0.1' });
    slow.on('error', () => {});
    slow.write(`GET ${PATH} HTTP/1.1\r\nhost: 127.0.0.1:${door.port}\r\n\r\n`);
    slow.pause();
    await eventually(() => service.requests.length === 1);
    expect((await ask(PATH)).text).toHaveLength(900_000);
    expect(service.requests).toHaveLength(1);
    slow.destroy();
  });
});

describe('what is stale', () => {
  test('while it is asked for anew, the old one is given; the tag spares the body', async () => {
    let asked = 0;
    const { service, ask } = await before((request, response) => {
      asked++;
      if (request.headers['if-none-match'] === '"one"')
        response.writeHead(304, { etag: '"one"', 'cache-control': 'public, max-age=60' }).end();
      else
        response
          .writeHead(200, { etag: '"one"', 'cache-control': 'public, max-age=1, stale-while-revalidate=30' })
          .end('one');
    });
    await ask(PATH);
    await sleep(1_050);
    const stale = await Promise.all([ask(PATH), ask(PATH), ask(PATH)]);
    for (const { text, how } of stale) {
      expect(text).toBe('one');
      expect(how).toMatch(/^hit; ttl=-?\d+; detail=stale-while-revalidate$|^hit; ttl=(60|59)$/);
    }
    await eventually(async () => /^hit; ttl=(60|59)$/.test((await ask(PATH)).how));
    expect(asked).toBe(2);
    expect(service.requests[1]!.headers['if-none-match']).toBe('"one"');
  });

  test('a refresh brings what is new, and a failed one changes nothing', async () => {
    let state = 'one';
    const { service, ask } = await before((_, response) => {
      if (state === 'broken') return void response.writeHead(503).end();
      response.writeHead(200, { 'cache-control': 'public, max-age=1, stale-while-revalidate=30' }).end(state);
    });
    expect((await ask(PATH)).text).toBe('one');
    state = 'broken';
    await sleep(1_050);
    expect((await ask(PATH)).text).toBe('one');
    await eventually(() => service.requests.length === 2);
    expect((await ask(PATH)).text).toBe('one');
    state = 'two';
    await sleep(1_050);
    expect((await ask(PATH)).text).toBe('one');
    await eventually(async () => (await ask(PATH)).text === 'two');
  });

  test('past its time it is asked for with its tag, and the client gets the whole of it', async () => {
    const { service, ask } = await before((request, response) => {
      if (request.headers['if-none-match'] === '"one"') response.writeHead(304, { 'x-new': 'yes' }).end();
      else response.writeHead(200, { etag: '"one"', 'cache-control': 'public, max-age=1' }).end('one');
    });
    await ask(PATH);
    await sleep(1_050);
    const renewed = await ask(PATH);
    expect([renewed.status, renewed.text, renewed.how]).toEqual([200, 'one', 'fwd=stale; fwd-status=304']);
    expect(renewed.headers.get('x-new')).toBe('yes');
    expect((await ask(PATH)).how).toMatch(/^hit/);
    await sleep(1_050);
    // Who has it is not sent it again.
    expect((await ask(PATH, { 'if-none-match': '"one"' })).status).toBe(304);
    expect(service.requests).toHaveLength(3);
  });

  test('while the service fails, what it allowed to be given then is given', async () => {
    let broken: 'no' | 'status' | 'silence' = 'no';
    const { service, ask } = await before((_, response) => {
      if (broken === 'status') return void response.writeHead(503, { 'content-length': '0' }).end();
      if (broken === 'silence') return void response.destroy();
      response.writeHead(200, { 'cache-control': 'public, max-age=1, stale-if-error=60' }).end('one');
    });
    await ask(PATH);
    await ask(`${PATH}?other`);
    await sleep(1_050);
    broken = 'status';
    const bridged = await ask(PATH);
    expect([bridged.status, bridged.text]).toEqual([200, 'one']);
    expect(bridged.how).toBe('fwd=stale; fwd-status=503; detail=stale-if-error');
    broken = 'silence';
    expect((await ask(PATH)).how).toBe('fwd=stale; detail=stale-if-error');
    await service.stop();
    const replies = await Promise.all([ask(PATH), ask(PATH), ask(`${PATH}?other`)]);
    for (const { status, text } of replies) expect([status, text]).toEqual([200, 'one']);
    expect((await ask(`${PATH}?never-seen`)).status).toBe(503);
  });

  test('without that permission a failure is a failure', async () => {
    let broken = false;
    const { ask } = await before((_, response) => {
      if (broken) return void response.writeHead(503).end();
      response.writeHead(200, { 'cache-control': 'public, max-age=1' }).end('one');
    });
    await ask(PATH);
    await sleep(1_050);
    broken = true;
    expect((await ask(PATH)).status).toBe(503);
  });
});

describe('bounds and purging', () => {
  test('what is too large is passed on and not kept; the rest stays within the bound', async () => {
    const { service, door, ask } = await before(
      (request, response) => {
        const size = Number(request.url!.split('size=')[1]!.split('&')[0]);
        response.writeHead(200, { 'cache-control': 'public, max-age=60' });
        // In pieces: nobody says how long it gets.
        for (let sent = 0; sent < size; sent += 50_000)
          response.write(Buffer.alloc(Math.min(50_000, size - sent)));
        response.end();
      },
      { env: { CACHE_MEMORY_MB: '1' } },
    );
    for (let round = 0; round < 2; round++)
      expect((await ask(`${PATH}?size=200000`)).text).toHaveLength(200_000);
    expect(service.requests).toHaveLength(2);
    for (let index = 0; index < 30; index++) await ask(`${PATH}?size=100000&${index}`);
    const metrics = await (await fetch(`${door.internalUrl}/metrics`)).text();
    const value = (name: string) => Number(new RegExp(`^${name}\\{.*\\} (\\d+)$`, 'm').exec(metrics)![1]);
    expect(value('lyceum_gateway_cache_bytes')).toBeLessThanOrEqual(1_048_576);
    expect(value('lyceum_gateway_cache_entries')).toBeGreaterThan(5);
    expect(value('lyceum_gateway_cache_evictions_total')).toBeGreaterThan(15);
    // The one asked for last is there, the first is not.
    expect((await ask(`${PATH}?size=100000&29`)).how).toMatch(/^hit/);
    expect((await ask(`${PATH}?size=100000&0`)).how).toMatch(/stored$/);
  });

  test('purged by path or altogether, in every gateway', async () => {
    const ephemeral = openMemoryStore();
    const { service, door, ask } = await before(says('public, max-age=60'), { ephemeral });
    const other = await gateway({ upstreams: { profile: service.url }, ephemeral });
    const purge = async (body: object) =>
      (
        await fetch(`${door.internalUrl}/cache/purge`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        })
      ).json();
    await ask('/api/profiles/avatars/1/small');
    await ask('/api/profiles/avatars/2/small');
    await (await fetch(`${other.url}/api/profiles/avatars/1/small`)).text();
    expect(await purge({ path: '/api/profiles/avatars/1/' })).toEqual({ purged: 1, shared: true });
    expect((await ask('/api/profiles/avatars/1/small')).how).toMatch(/stored$/);
    expect((await ask('/api/profiles/avatars/2/small')).how).toMatch(/^hit/);
    await eventually(async () => {
      const reply = await fetch(`${other.url}/api/profiles/avatars/1/small`);
      await reply.text();
      return reply.headers.get('cache-status')!.endsWith('stored');
    });
    expect(await purge({})).toEqual({ purged: 2, shared: true });
    // A service may say so too.
    await ask('/api/profiles/avatars/2/small');
    await purgeGatewayCaches(ephemeral, '/api/profiles/avatars/2');
    await eventually(async () => (await ask('/api/profiles/avatars/2/small')).how.endsWith('stored'));
  });

  test('what was under way when it was purged is not kept', async () => {
    let count = 0;
    const { door, ask } = await before((_, response) => {
      const text = `reply ${++count}`;
      setTimeout(() => response.writeHead(200, { 'cache-control': 'public, max-age=60' }).end(text), 200);
    });
    const first = ask(PATH);
    await eventually(() => count === 1);
    await fetch(`${door.internalUrl}/cache/purge`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    expect((await first).text).toBe('reply 1');
    expect((await ask(PATH)).text).toBe('reply 2');
  });

  test('counts what became of requests', async () => {
    const { door, ask } = await before(says('public, max-age=60'));
    await ask(PATH);
    await ask(PATH);
    await ask(PATH, { range: 'bytes=0-1' });
    const metrics = await (await fetch(`${door.internalUrl}/metrics`)).text();
    for (const [outcome, count] of [
      ['hit', 1],
      ['miss', 1],
      ['bypass', 1],
    ])
      expect(metrics).toMatch(
        new RegExp(`^lyceum_gateway_cache_requests_total\\{outcome="${outcome}".*\\} ${count}$`, 'm'),
      );
  });

  test('switched off, it is not there', async () => {
    const { service, ask } = await before(says('public, max-age=60'), { env: { CACHE_MEMORY_MB: '0' } });
    for (let round = 0; round < 2; round++) expect((await ask(PATH)).how).toBe('');
    expect(service.requests).toHaveLength(2);
  });
});
