import { afterEach, describe, expect, test } from 'bun:test';
import type { RequestListener } from 'node:http';
import { openMemoryStore } from '../shared/adapters/ephemeral-store/memory.ts';
import type { EphemeralStore } from '../shared/ports/ephemeral-store.ts';
import { BEARER, eventually, sendRaw, startedForOneTest, type TestGateway } from './testing.ts';

const { stopAll, upstream, gateway } = startedForOneTest();
afterEach(stopAll);

const JSON_TYPE = { 'content-type': 'application/json' };

async function put(door: TestGateway, path: string, body: object, method = 'PUT') {
  const reply = await fetch(door.internalUrl + path, {
    method,
    headers: JSON_TYPE,
    body: JSON.stringify(body),
  });
  return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
}
const get = async (door: TestGateway, path: string, headers: Record<string, string> = {}) => {
  const reply = await fetch(door.url + path, { headers });
  const text = await reply.text();
  const code = text.startsWith('{') ? (JSON.parse(text) as { code?: string }).code : undefined;
  return { status: reply.status, code, text, headers: reply.headers };
};

/** A store that can be taken away, and its memory with it. */
function fragileStore() {
  const inner = { store: openMemoryStore(), away: false };
  const store = new Proxy({} as EphemeralStore, {
    get: (_, name: keyof EphemeralStore) =>
      name === 'subscribe'
        ? (...args: Parameters<EphemeralStore['subscribe']>) => inner.store.subscribe(...args)
        : async (...args: unknown[]) => {
            if (inner.away) throw new Error('the store is away');
            return (inner.store[name] as (...all: unknown[]) => unknown)(...args);
          },
  });
  return { inner, store };
}

describe('switches', () => {
  test('a route and a service, live, with Retry-After, and back', async () => {
    const service = await upstream((_, response) => response.end('{}'));
    const door = await gateway({ upstreams: { content: service.url, profile: service.url } });
    const ask = (path: string) => get(door, path, BEARER);
    expect((await ask('/api/content/courses')).status).toBe(200);

    const off = await put(door, '/switches/routes/content.catalogue', {
      off: true,
      message: 'Too much asked.',
    });
    expect(off.status).toBe(200);
    const refused = await ask('/api/content/courses');
    expect([refused.status, refused.code, refused.headers.get('retry-after')]).toEqual([
      503,
      'switched-off',
      '60',
    ]);
    expect(refused.text).toContain('Too much asked.');
    expect((await ask('/api/content/lessons/1')).status).toBe(200);

    const until = new Date(Date.now() + 600_000).toISOString();
    await put(door, '/switches/services/content', { off: true, until });
    const closed = await ask('/api/content/lessons/1');
    expect([closed.status, closed.code]).toEqual([503, 'switched-off']);
    expect(Number(closed.headers.get('retry-after'))).toBeGreaterThan(590);
    expect((await ask('/api/profiles/me')).status).toBe(200);
    expect(await (await fetch(`${door.internalUrl}/switches`)).json()).toEqual({
      maintenance: { on: false },
      routes: { 'content.catalogue': { since: expect.any(String), message: 'Too much asked.' } },
      services: { content: { since: expect.any(String), until } },
    });

    await put(door, '/switches/services/content', { off: false });
    await put(door, '/switches/routes/content.catalogue', { off: false });
    expect((await ask('/api/content/courses')).status).toBe(200);
    expect((await ask('/api/content/lessons/1')).status).toBe(200);
  });

  test('sockets of a chat that is switched off are refused, and those that are open are closed', async () => {
    const chat = await upstream((_, response) => response.end('{}'));
    chat.server.on('upgrade', (request, socket) => {
      socket.on('error', () => {});
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n' +
          `sec-websocket-accept: ${acceptOf(String(request.headers['sec-websocket-key']))}\r\n\r\n`,
      );
    });
    const door = await gateway({ upstreams: { chat: chat.url } });
    const address = `${door.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`;
    const socket = new WebSocket(address);
    await new Promise((resolve) => socket.addEventListener('open', resolve));
    const closed = new Promise<number>((resolve) =>
      socket.addEventListener('close', ({ code }) => resolve(code)),
    );
    await put(door, '/switches/services/chat', { off: true });
    expect(await closed).toBe(1013);
    const handshake = `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
    const refused = await sendRaw(door.port, handshake);
    expect(refused.text).toStartWith('HTTP/1.1 503');
    expect(refused.text).toContain('switched-off');
    await put(door, '/switches/services/chat', { off: false });
    expect((await sendRaw(door.port, handshake)).text).toStartWith('HTTP/1.1 101');
    // The sockets alone.
    await put(door, '/switches/routes/socket', { off: true });
    expect((await sendRaw(door.port, handshake)).text).toContain('switched-off');
    expect((await get(door, '/api/chat/rooms', BEARER)).code).not.toBe('switched-off');
  });

  test('every gateway hears of it, and one that starts later too', async () => {
    const service = await upstream((_, response) => response.end('{}'));
    const ephemeral = openMemoryStore();
    const settings = { upstreams: { profile: service.url }, ephemeral };
    const [one, other] = [await gateway(settings), await gateway(settings)];
    expect((await put(one, '/switches/services/profile', { off: true })).body.shared).toBe(true);
    await eventually(
      async () => (await get(other, '/api/profiles/me', BEARER)).code === 'switched-off',
      1_000,
    );
    const later = await gateway(settings);
    expect((await get(later, '/api/profiles/me', BEARER)).code).toBe('switched-off');
    await put(other, '/switches/services/profile', { off: false });
    await eventually(async () => (await get(one, '/api/profiles/me', BEARER)).status === 200, 1_000);
  });

  test('what no message brought is read within seconds', async () => {
    const service = await upstream((_, response) => response.end('{}'));
    const ephemeral = openMemoryStore();
    const door = await gateway({ upstreams: { profile: service.url }, ephemeral });
    const entry = { off: true, changedAt: Date.now() };
    await ephemeral.set('gateway:switches', JSON.stringify({ 'services/profile': entry }), 60_000);
    await eventually(async () => (await get(door, '/api/profiles/me', BEARER)).code === 'switched-off');
    // Nonsense in the store changes nothing.
    await ephemeral.set('gateway:switches', '{"services/profile":', 60_000);
    await eventually(async () => (await ephemeral.get('gateway:switches'))!.endsWith('}}'));
    expect((await get(door, '/api/profiles/me', BEARER)).code).toBe('switched-off');
  });

  test('while the store is away the last word holds, and can be changed; what the store forgot it is told again', async () => {
    const service = await upstream((_, response) => response.end('{}'));
    const { inner, store } = fragileStore();
    const door = await gateway({ upstreams: { profile: service.url, chat: service.url }, ephemeral: store });
    await put(door, '/switches/services/profile', { off: true });
    inner.away = true;
    const change = await put(door, '/switches/services/chat', { off: true });
    expect([change.status, change.body.shared]).toEqual([200, false]);
    expect((await get(door, '/api/profiles/me', BEARER)).code).toBe('switched-off');
    expect((await get(door, '/api/chat/rooms', BEARER)).code).toBe('switched-off');
    inner.store = openMemoryStore();
    inner.away = false;
    await eventually(async () => (await inner.store.get('gateway:switches')) !== null);
    const kept = JSON.parse((await inner.store.get('gateway:switches'))!);
    expect(Object.keys(kept)).toEqual(['services/chat', 'services/profile']);
  });

  test('an operator has the last word, however fast the clock of another gateway', async () => {
    const service = await upstream((_, response) => response.end('{}'));
    const ephemeral = openMemoryStore();
    const door = await gateway({ upstreams: { profile: service.url }, ephemeral });
    const ahead = { off: true, changedAt: Date.now() + 3_600_000 };
    await ephemeral.set('gateway:switches', JSON.stringify({ 'services/profile': ahead }), 60_000);
    await put(door, '/switches/services/profile', { off: false });
    expect((await get(door, '/api/profiles/me', BEARER)).status).toBe(200);
    const kept = JSON.parse((await ephemeral.get('gateway:switches'))!);
    expect(kept['services/profile'].off).toBe(false);
  });

  test('names that are none, and bodies that are none, are refused', async () => {
    const door = await gateway();
    expect((await put(door, '/switches/routes/nobody', { off: true })).status).toBe(404);
    expect((await put(door, '/switches/services/routes', { off: true })).status).toBe(404);
    expect((await put(door, '/switches/routes/maintenance', { off: true })).status).toBe(404);
    for (const body of [{}, { off: 'yes' }, { off: true, until: 'soon' }, { off: true, more: 1 }])
      expect((await put(door, '/switches/services/chat', body)).status).toBe(400);
    expect(await (await fetch(`${door.internalUrl}/switches`)).json()).toMatchObject({ services: {} });
  });
});

describe('maintenance', () => {
  test('a problem for clients, a page for browsers, and who watches goes on to be answered', async () => {
    const ready: RequestListener = (_, response) => response.end('{}');
    const service = await upstream(ready, ready);
    const door = await gateway({ upstreams: { profile: service.url } });
    const until = new Date(Date.now() + 120_000).toISOString();
    await put(door, '/switches/maintenance', { until, message: 'New <shelves> & "books"' });

    const api = await get(door, '/api/profiles/me', BEARER);
    expect([api.status, api.code]).toEqual([503, 'maintenance']);
    expect(api.headers.get('content-type')).toBe('application/problem+json');
    expect(Number(api.headers.get('retry-after'))).toBeGreaterThan(110);
    expect(Number(api.headers.get('retry-after'))).toBeLessThanOrEqual(120);
    expect((await get(door, '/nowhere')).code).toBe('maintenance');

    const page = await get(door, '/', { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' });
    expect(page.status).toBe(503);
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.headers.get('content-security-policy')).toContain("style-src 'sha256-");
    expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(110);
    expect(page.text).toContain('New &lt;shelves&gt; &amp; &quot;books&quot;');
    expect(page.text).toContain(until.slice(0, 10));
    expect(page.text).not.toContain('{{');

    expect((await get(door, '/healthz')).status).toBe(200);
    expect((await get(door, '/readyz')).status).toBe(200);
    expect((await fetch(`${door.internalUrl}/metrics`)).status).toBe(200);
    expect(service.requests).toHaveLength(0);

    const over = await put(door, '/switches/maintenance', { on: false });
    expect(over.body.maintenance).toEqual({ on: false });
    expect((await get(door, '/api/profiles/me', BEARER)).status).toBe(200);
    expect((await get(door, '/')).status).toBe(200);
  });

  test('without a word and a time there are ones to fall back on', async () => {
    const door = await gateway();
    await put(door, '/switches/maintenance', {});
    const page = await get(door, '/', { accept: 'text/html' });
    expect([page.status, page.headers.get('retry-after')]).toEqual([503, '300']);
    expect(page.text).toContain('back soon');
  });
});

describe('the internal port', () => {
  test('lists what it has', async () => {
    const door = await gateway();
    const { calls } = (await (await fetch(`${door.internalUrl}/`)).json()) as {
      calls: { method: string; path: string; does: string }[];
    };
    expect(calls.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /',
      'GET /healthz',
      'GET /readyz',
      'GET /metrics',
      'GET /switches',
      'PUT /switches/routes/{name}',
      'PUT /switches/services/{name}',
      'PUT /switches/maintenance',
      'POST /cache/purge',
      'POST /reload',
    ]);
    for (const { does } of calls) expect(does.length).not.toBe('');
    // None of it is public.
    for (const { path } of calls.slice(3))
      expect([path, (await get(door, path)).status]).toEqual([path, 404]);
  });

  test('changes nothing for a page in a browser', async () => {
    const door = await gateway();
    const attempt = (headers: Record<string, string>, method = 'PUT', path = '/switches/services/chat') =>
      fetch(door.internalUrl + path, {
        method,
        headers,
        body: method === 'GET' ? null : '{"off":true}',
      }).then(({ status }) => status);
    // What a form or a plain fetch of another site may send.
    expect(await attempt({ 'content-type': 'text/plain' })).toBe(415);
    expect(await attempt({ 'content-type': 'application/x-www-form-urlencoded' })).toBe(415);
    expect(await attempt({})).toBe(415);
    // Whatever it sends, a browser says where it comes from, or that it is one.
    expect(await attempt({ ...JSON_TYPE, origin: 'http://evil.example' })).toBe(403);
    expect(await attempt({ ...JSON_TYPE, origin: door.internalUrl })).toBe(403);
    expect(await attempt({ ...JSON_TYPE, 'sec-fetch-site': 'same-origin' })).toBe(403);
    // A name that was made to point here (DNS rebinding).
    const rebound = await sendRaw(
      door.internalPort,
      'POST /cache/purge HTTP/1.1\r\nhost: evil.example:8081\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}',
    );
    expect(rebound.text).toStartWith('HTTP/1.1 403');
    expect(await attempt(JSON_TYPE, 'POST')).toBe(405);
    expect(await attempt(JSON_TYPE, 'DELETE')).toBe(405);
    expect(await attempt({}, 'GET')).toBe(405);
    expect(await (await fetch(`${door.internalUrl}/switches`)).json()).toMatchObject({ services: {} });
    expect(await attempt(JSON_TYPE)).toBe(200);
  });

  test('refuses what is no JSON, too much of it, and what does not exist', async () => {
    const door = await gateway();
    const post = (body: string) =>
      fetch(`${door.internalUrl}/cache/purge`, { method: 'POST', headers: JSON_TYPE, body }).then(
        ({ status }) => status,
      );
    expect(await post('{')).toBe(400);
    expect(await post('{"path":"no"}')).toBe(400);
    expect(await post(`{"path":"/${'a'.repeat(70_000)}"}`)).toBe(413);
    expect(await post('')).toBe(200);
    expect((await fetch(`${door.internalUrl}/nothing`)).status).toBe(404);
  });
});

/** RFC 6455, 4.2.2. */
const acceptOf = (key: string): string =>
  new Bun.CryptoHasher('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
