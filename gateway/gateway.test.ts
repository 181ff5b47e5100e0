import { afterEach, describe, expect, test } from 'bun:test';
import { connect } from 'node:net';
import type { pino } from 'pino';
import { openMemoryStore } from '../shared/adapters/ephemeral-store/memory.ts';
import { createLog } from '../shared/observability/log.ts';
import { DEFAULT_TIMINGS, parseGatewayConfig } from './config.ts';
import { BEARER, eventually, NOBODY, sendRaw, sleep, startedForOneTest, startGateway } from './testing.ts';

const { stopAll, upstream, gateway } = startedForOneTest();
afterEach(stopAll);
const codeOf = async (reply: Response): Promise<string> => ((await reply.json()) as { code: string }).code;

describe('who may pass', () => {
  test('a token is required except where the table says otherwise, and it is passed on', async () => {
    const any = await upstream((_, response) => response.end('{}'));
    const all = { auth: any.url, content: any.url, profile: any.url, chat: any.url };
    const door = await gateway({ upstreams: all });
    const status = async (method: string, path: string, headers: Record<string, string> = {}) =>
      (await fetch(door.url + path, { method, headers })).status;

    for (const path of [
      'register',
      'login',
      'refresh',
      'email/verify',
      'email/resend',
      'password/forgot',
      'password/reset',
    ]) {
      expect(await status('POST', `/api/auth/${path}`)).toBe(200);
    }
    expect(await status('GET', '/.well-known/jwks.json')).toBe(200);
    expect(await status('GET', '/api/content/files/1/content')).toBe(200);
    expect(await status('GET', '/api/content/courses')).toBe(200);
    expect(await status('GET', '/api/content/courses/1')).toBe(200);
    expect(await status('GET', '/api/profiles/avatars/1/small')).toBe(200);

    const closed = [
      ['GET', '/api/auth/me'],
      ['POST', '/api/auth/logout'],
      ['POST', '/api/content/courses'],
      ['GET', '/api/content/courses/1/lessons'],
      ['GET', '/api/content/files/1'],
      ['DELETE', '/api/content/files/1/content'],
      ['GET', '/api/profiles/me'],
      ['GET', '/api/chat/rooms'],
      ['POST', '/api/notifications/read-all'],
      ['POST', '/api/analytics/events/batch'],
    ];
    for (const [method, path] of closed)
      expect(`${path} ${await status(method!, path!)}`).toBe(`${path} 401`);
    const seen = any.requests.length;
    expect(seen).toBe(12);

    expect(await status('GET', '/api/chat/rooms', BEARER)).toBe(200);
    expect(any.requests.at(-1)!.headers.authorization).toBe('Bearer good');
    // Optional is not ignored: a token that is sent must hold.
    const stale = await fetch(`${door.url}/api/content/courses`, {
      headers: { authorization: 'Bearer expired' },
    });
    expect([stale.status, await codeOf(stale)]).toEqual([401, 'token-expired']);
    expect(stale.headers.get('www-authenticate')).toContain('Bearer');
  });

  test('another method on a public path is refused as that, with the methods there are', async () => {
    const auth = await upstream((_, response) => response.end('{}'));
    const door = await gateway({ upstreams: { auth: auth.url } });
    for (const [method, path, allow] of [
      ['GET', '/api/auth/login', 'POST'],
      ['POST', '/.well-known/jwks.json', 'GET, HEAD'],
      ['DELETE', '/api/profiles/avatars/x/small', 'GET, HEAD'],
    ] as const) {
      const reply = await fetch(door.url + path, { method });
      expect([path, reply.status, await codeOf(reply)]).toEqual([path, 405, 'method-not-allowed']);
      expect(reply.headers.get('allow')).toBe(allow);
    }
    expect(auth.requests).toHaveLength(0);
  });

  test('services cannot be reached beside their routes', async () => {
    const any = await upstream((_, response) => response.end('secret'));
    const door = await gateway({ upstreams: { chat: any.url, auth: any.url } });
    for (const path of [
      '/metrics',
      '/api',
      '/api/chats/x',
      '/healthz/',
      '/openapi.json/',
      '/api/none/x',
      '/package.json',
      '/docs/../x',
    ]) {
      const reply = await fetch(door.url + path, { headers: BEARER });
      expect(`${path} ${reply.status}`).toBe(`${path} 404`);
      expect(reply.headers.get('content-type')).toBe('application/problem+json');
    }
    expect(any.requests).toHaveLength(0);
  });
});

describe('headers', () => {
  test('what a client says about itself is not believed', async () => {
    const chat = await upstream((_, response) => response.end('{}'));
    const door = await gateway({ upstreams: { chat: chat.url } });
    await sendRaw(
      door.port,
      'GET /api/chat/rooms?a=%2F&b=1 HTTP/1.1\r\nHost: school.example:8080\r\nAuthorization: Bearer good\r\n' +
        'X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n' +
        'X-User-Id: root\r\nX_User_Id: root\r\nX-Lyceum-Role: admin\r\nX_Forwarded_For: 6.6.6.6\r\n' +
        'Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\nKeep-Alive: 1\r\nProxy-Authorization: x\r\n' +
        'X-Two: 1\r\nX-Two: 2\r\nAccept-Language: cs\r\n\r\n',
      300,
    );
    const { headers, url } = chat.requests[0]!;
    expect(url).toBe('/api/chat/rooms?a=%2F&b=1');
    expect(headers['x-forwarded-for']).toBe('127.0.0.1');
    expect(headers['x-forwarded-proto']).toBe('http');
    expect(headers['x-forwarded-host']).toBe('school.example:8080');
    expect(headers.host).toBe(`127.0.0.1:${chat.port}`);
    expect(headers['x-two']).toBe('1, 2');
    expect(headers['accept-language']).toBe('cs');
    const gone = [
      'forwarded',
      'x-real-ip',
      'x-user-id',
      'x_user_id',
      'x-lyceum-role',
      'x_forwarded_for',
      'x-secret',
      'te',
      'keep-alive',
      'proxy-authorization',
    ];
    for (const name of gone) expect(`${name} ${headers[name]}`).toBe(`${name} undefined`);
  });

  test('a trusted proxy is believed as far as it can know', async () => {
    const chat = await upstream((_, response) => response.end('{}'));
    const door = await gateway({
      upstreams: { chat: chat.url },
      env: { TRUSTED_PROXIES: '127.0.0.0/8, 10.0.0.0/8' },
    });
    await fetch(`${door.url}/api/chat/rooms`, {
      headers: {
        ...BEARER,
        'x-forwarded-for': '6.6.6.6, 203.0.113.7, 10.1.2.3',
        'x-forwarded-proto': 'https',
      },
    });
    expect(chat.requests[0]!.headers['x-forwarded-for']).toBe('203.0.113.7');
    expect(chat.requests[0]!.headers['x-forwarded-proto']).toBe('https');
  });

  test('ids and traces are taken when they look right, else made, and come back', async () => {
    const chat = await upstream((_, response) =>
      response.setHeader('x-request-id', 'forged-by-service').end('{}'),
    );
    const door = await gateway({ upstreams: { chat: chat.url } });
    const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const own = await fetch(`${door.url}/api/chat/rooms`, {
      headers: { ...BEARER, 'x-request-id': 'my-request-1', traceparent: trace, tracestate: 'a=b' },
    });
    expect(own.headers.get('x-request-id')).toBe('my-request-1');
    const passed = chat.requests[0]!.headers;
    expect(passed['x-request-id']).toBe('my-request-1');
    expect(passed.tracestate).toBe('a=b');
    expect((passed.traceparent as string).slice(0, 36)).toBe(trace.slice(0, 36));
    expect(passed.traceparent).not.toBe(trace);

    const bad = await fetch(`${door.url}/api/none`, {
      headers: { 'x-request-id': 'no spaces!', traceparent: 'x', tracestate: 'a=b' },
    });
    const { requestId } = (await bad.json()) as { requestId: string };
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
    expect(bad.headers.get('x-request-id')).toBe(requestId);
  });

  test('every reply is hardened; a service may be stricter', async () => {
    const content = await upstream((request, response) => {
      if (request.url!.endsWith('/content')) response.setHeader('content-security-policy', 'sandbox');
      response
        .setHeader('server', 'secret/1.0')
        .setHeader('x-powered-by', 'x')
        .setHeader('access-control-allow-origin', '*')
        .end('{}');
    });
    const door = await gateway({
      upstreams: { content: content.url },
      env: { PUBLIC_URL: 'https://school.example' },
    });
    const reply = await fetch(`${door.url}/api/content/courses`);
    expect(reply.headers.get('x-content-type-options')).toBe('nosniff');
    expect(reply.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    expect(reply.headers.get('referrer-policy')).toBeTruthy();
    expect(reply.headers.get('cross-origin-opener-policy')).toBe('same-origin');
    expect(reply.headers.get('permissions-policy')).toBeTruthy();
    expect(reply.headers.get('strict-transport-security')).toContain('max-age=');
    for (const name of ['server', 'x-powered-by', 'access-control-allow-origin'])
      expect(reply.headers.get(name)).toBeNull();
    const bytes = await fetch(`${door.url}/api/content/files/1/content`);
    expect(bytes.headers.get('content-security-policy')).toBe('sandbox');
    expect((await fetch(`${door.url}/api/none`)).headers.get('x-content-type-options')).toBe('nosniff');
  });

  test('cross-origin calls: only for listed origins', async () => {
    const chat = await upstream((_, response) => response.setHeader('vary', 'Accept').end('{}'));
    const door = await gateway({
      upstreams: { chat: chat.url },
      env: { CORS_ORIGINS: 'https://app.example' },
    });
    const preflight = (origin: string) =>
      fetch(`${door.url}/api/chat/rooms`, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'POST' },
      });
    const yes = await preflight('https://app.example');
    expect([yes.status, yes.headers.get('access-control-allow-origin')]).toEqual([
      204,
      'https://app.example',
    ]);
    expect((await preflight('https://evil.example')).status).toBe(403);
    const call = await fetch(`${door.url}/api/chat/rooms`, {
      headers: { ...BEARER, origin: 'https://app.example' },
    });
    expect(call.headers.get('access-control-allow-origin')).toBe('https://app.example');
    expect(call.headers.get('vary')).toBe('Origin, Accept');
    const other = await fetch(`${door.url}/api/chat/rooms`, {
      headers: { ...BEARER, origin: 'https://evil.example' },
    });
    expect(other.headers.get('access-control-allow-origin')).toBeNull();
    // An image of a page of ours, in a cache, is not what another origin's script gets.
    expect((await fetch(`${door.url}/healthz`)).headers.get('vary')).toBe('Origin');
  });
});

describe('limits', () => {
  test('tell how much is left, refuse with 429, and scale', async () => {
    const auth = await upstream((_, response) => response.end('{}'));
    const door = await gateway({ upstreams: { auth: auth.url }, env: { LYCEUM_LIMIT_SCALE: '0.05' } });
    const login = () => fetch(`${door.url}/api/auth/login`, { method: 'POST' });
    const first = await login();
    expect(first.headers.get('ratelimit-limit')).toBe('3');
    expect(first.headers.get('ratelimit-remaining')).toBe('2');
    expect(Number(first.headers.get('ratelimit-reset'))).toBeGreaterThan(0);
    await login();
    await login();
    const refused = await login();
    expect([refused.status, await codeOf(refused)]).toEqual([429, 'rate-limited']);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(refused.headers.get('ratelimit-remaining')).toBe('0');
    expect(auth.requests).toHaveLength(3);
    // Another class of the same address is not touched.
    expect((await fetch(`${door.url}/api/auth/refresh`, { method: 'POST' })).status).toBe(200);
  });

  test("a service's own limit is told as such: nothing remains, whatever our bucket has", async () => {
    const auth = await upstream((_, response) => response.writeHead(429, { 'retry-after': '7' }).end('{}'));
    const door = await gateway({ upstreams: { auth: auth.url } });
    const refused = await fetch(`${door.url}/api/auth/login`, { method: 'POST' });
    expect(
      ['retry-after', 'ratelimit-remaining', 'ratelimit-reset'].map((name) => refused.headers.get(name)),
    ).toEqual(['7', '0', '7']);
  });

  test('a school behind one address signs in and works with the defaults', async () => {
    const any = await upstream((_, response) => response.end('{}'));
    const door = await gateway({
      upstreams: { auth: any.url, content: any.url },
      env: { LYCEUM_LIMIT_SCALE: '1' },
    });
    const logins = await Promise.all(
      Array.from({ length: 60 }, () => fetch(`${door.url}/api/auth/login`, { method: 'POST' })),
    );
    expect(logins.every(({ status }) => status === 200)).toBe(true);
    const pages = await Promise.all(
      Array.from({ length: 500 }, () => fetch(`${door.url}/api/content/courses`)),
    );
    expect(pages.every(({ status }) => status === 200)).toBe(true);
  });

  test('guessing tokens is limited too', async () => {
    const door = await gateway({ env: { LYCEUM_LIMIT_SCALE: '0.001' } });
    const guess = async () =>
      (await fetch(`${door.url}/api/chat/rooms`, { headers: { authorization: 'Bearer bad' } })).status;
    expect([await guess(), await guess(), await guess(), await guess()]).toEqual([401, 401, 401, 429]);
  });

  for (const failure of ['fails', 'hangs']) {
    test(`while the shared store ${failure}, each process counts for itself and nothing fails`, async () => {
      const auth = await upstream((_, response) => response.end('{}'));
      let asked = 0;
      const away = (): Promise<never> =>
        failure === 'fails' ? Promise.reject(new Error('store away')) : new Promise(() => {});
      const ephemeral = {
        ...openMemoryStore(),
        ready: away,
        takeTokensMany: () => {
          asked++;
          return away();
        },
      };
      const door = await gateway({
        upstreams: { auth: auth.url },
        ephemeral,
        env: { LYCEUM_LIMIT_SCALE: '0.05' },
        timings: { storeMs: 50 },
      });
      const statuses = [];
      for (let turn = 0; turn < 4; turn++)
        statuses.push((await fetch(`${door.url}/api/auth/login`, { method: 'POST' })).status);
      expect(statuses).toEqual([200, 200, 200, 429]);
      // A store that is away is not asked for every request.
      expect(asked).toBeLessThanOrEqual(2);
      const told = async (path: string) => (await fetch(door.internalUrl + path)).text();
      await eventually(async () => (await told('/metrics')).includes('store="local"'));
      expect(await told('/metrics')).toContain('lyceum_gateway_limits_degraded{service="gateway"} 1');
      expect(JSON.parse(await told('/readyz'))).toMatchObject({
        ready: false,
        dependencies: { limits: { ok: false } },
      });
    });
  }
});

describe('own pages', () => {
  test('health and readiness, without details outside and with them inside', async () => {
    let ready = true;
    const chat = await upstream(
      (_, response) => response.end(),
      (_, response) => response.writeHead(ready ? 200 : 503).end('{}'),
    );
    const door = await gateway({ upstreams: { chat: `${chat.url},${NOBODY}` } });
    expect((await fetch(`${door.url}/healthz`)).status).toBe(200);
    const outside = await fetch(`${door.url}/readyz`);
    expect([outside.status, await outside.text()]).toEqual([200, '{"status":"ready"}']);
    const inside = await fetch(`${door.internalUrl}/readyz`);
    expect(inside.status).toBe(503);
    const state = (await inside.json()) as {
      dependencies: Record<string, { ok: boolean; replicas: Record<string, string> }>;
    };
    expect(state.dependencies.chat).toEqual({
      ok: true,
      replicas: { [`127.0.0.1:${chat.port}`]: 'ready', '127.0.0.1:9': 'no answer' },
    });
    expect(state.dependencies.auth!.ok).toBe(false);
    expect(state.dependencies['ephemeral-store']!.ok).toBe(true);
    ready = false;
    await sleep(1_050);
    expect((await fetch(`${door.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${door.url}/metrics`)).status).toBe(404);
  });

  test('the start page and the reference work on their own and without inline scripts', async () => {
    const door = await gateway({ env: { LYCEUM_DEV_MAIL: NOBODY } });
    const page = await fetch(door.url);
    const html = await page.text();
    expect(page.headers.get('content-type')).toContain('text/html');
    expect(page.headers.get('content-security-policy')).not.toContain('unsafe');
    expect(html).toContain('/dev/mail');
    const docs = await fetch(`${door.url}/docs`);
    const links = [
      ...html.matchAll(/(?:href|src)="([^"]+)"/g),
      ...(await docs.text()).matchAll(/(?:href|src)="([^"]+)"/g),
    ].map(([, link]) => link!);
    expect(links.every((link) => link.startsWith('/'))).toBe(true);
    for (const link of links.filter((link) => link !== '/dev/mail' && link !== '/readyz')) {
      expect(`${link} ${(await fetch(door.url + link)).status}`).toBe(`${link} 200`);
    }
    const etag = page.headers.get('etag')!;
    expect((await fetch(door.url, { headers: { 'if-none-match': etag } })).status).toBe(304);
    const wrong = await fetch(`${door.url}/docs`, { method: 'POST' });
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    const head = await sendRaw(door.port, 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n', 200);
    expect(head.text).toContain(`content-length: ${Buffer.byteLength(html)}`);
    expect(head.text).toEndWith('\r\n\r\n');

    const plain = await gateway();
    expect(await (await fetch(plain.url)).text()).not.toContain('/dev/mail');
    expect((await fetch(`${plain.url}/dev/mail`)).status).toBe(404);
  });

  test('mail that was caught is shown when it is on', async () => {
    const mail = await upstream((request, response) => response.end(request.url));
    const door = await gateway({ env: { LYCEUM_DEV_MAIL: mail.url } });
    expect(await (await fetch(`${door.url}/dev/mail.json?to=a@b.c`)).text()).toBe('/dev/mail.json?to=a@b.c');
    expect((await fetch(`${door.url}/dev/mail/x`)).status).toBe(404);
  });

  test('one OpenAPI document of all services; clashing names are kept apart, a lost service keeps its part', async () => {
    const part = (name: string, schema: object) => ({
      openapi: '3.1.0',
      info: { title: name, version: '1' },
      paths: {
        [`/api/${name}/x`]: {
          get: {
            responses: {
              200: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Item' } } } },
            },
          },
        },
      },
      components: {
        schemas: { Item: schema, Same: { type: 'string' } },
        securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      },
      tags: [{ name }],
    });
    const serve = (name: string, schema: object) =>
      upstream(
        (_, response) => response.end(),
        (_, response) => response.end(JSON.stringify(part(name, schema))),
      );
    const auth = await serve('auth', { type: 'string' });
    const chat = await serve('chat', { type: 'number' });
    const door = await gateway({ upstreams: { auth: auth.url, chat: `${NOBODY},${chat.url}` } });
    const reply = await fetch(`${door.url}/openapi.json`);
    const document = JSON.parse(await reply.text());
    expect(Object.keys(document.paths)).toEqual(['/api/auth/x', '/api/chat/x']);
    expect(document.components.schemas).toEqual({
      Item: { type: 'string' },
      Same: { type: 'string' },
      'chat.Item': { type: 'number' },
    });
    expect(JSON.stringify(document.paths['/api/chat/x'])).toContain('#/components/schemas/chat.Item');
    expect(document.openapi).toBe('3.1.0');
    await chat.stop();
    const again = await fetch(`${door.url}/openapi.json`, {
      headers: { 'if-none-match': reply.headers.get('etag')! },
    });
    expect(again.status).toBe(304);
  });
});

describe('running', () => {
  test('one log line a request, without query, body or token', async () => {
    const lines: string[] = [];
    const log = createLog('gateway', 'info', {
      write: (line: string) => void lines.push(line),
    } as unknown as pino.DestinationStream);
    const content = await upstream((_, response) => response.end('12345'));
    const door = await gateway({ upstreams: { content: content.url }, log });
    await fetch(`${door.url}/api/content/files/1/content?signature=topsecret`, { headers: BEARER });
    await eventually(() =>
      lines.some((line) => line.includes('"message"') || line.includes('"msg":"request"')),
    );
    const line = JSON.parse(lines.find((text) => text.includes('"msg":"request"'))!);
    expect(line).toMatchObject({
      method: 'GET',
      path: '/api/content/files/1/content',
      route: 'content.bytes',
      status: 200,
      bytes: 5,
    });
    expect(line.userId).toBeString();
    expect(line.traceId).toHaveLength(32);
    expect(lines.join()).not.toContain('topsecret');
    expect(lines.join()).not.toContain('good');
  });

  test('metrics by route and upstream', async () => {
    const chat = await upstream((_, response) => response.end('{}'));
    const door = await gateway({ upstreams: { chat: chat.url } });
    await (await fetch(`${door.url}/api/chat/rooms`, { headers: BEARER })).text();
    await sleep(20);
    const text = await (await fetch(`${door.internalUrl}/metrics`)).text();
    expect(text).toMatch(
      /lyceum_http_request_duration_seconds_count\{.*method="GET",route="chat",status="200".*\} 1/,
    );
    expect(text).toMatch(
      /lyceum_gateway_upstream_duration_seconds_count\{.*upstream="chat",status="2xx".*\} 1/,
    );
    expect(text).toMatch(
      /lyceum_gateway_rate_limit_decisions_total\{class="read",outcome="allowed",store="shared"/,
    );
    expect(text).toContain('lyceum_gateway_requests_in_flight{service="gateway"} 0');
  });

  test('stopping finishes what is in hand and takes no more', async () => {
    const chat = await upstream((_, response) => void setTimeout(() => response.end('done'), 300));
    const door = await startGateway({ upstreams: { chat: chat.url } });
    const inHand = fetch(`${door.url}/api/chat/rooms`, { headers: BEARER });
    await eventually(() => chat.requests.length === 1);
    const stopped = door.stop(3_000);
    await sleep(50);
    const refused = await new Promise<boolean>((resolve) => {
      connect(door.port, '127.0.0.1')
        .on('error', () => resolve(true))
        .on('connect', () => resolve(false));
    });
    expect(refused).toBe(true);
    expect(await (await inHand).text()).toBe('done');
    const finished = performance.now();
    await stopped;
    // Kept connections do not hold it up.
    expect(performance.now() - finished).toBeLessThan(1_000);
  });

  test('stopping cuts what does not end in time', async () => {
    const chat = await upstream(() => {});
    const door = await startGateway({ upstreams: { chat: chat.url } });
    const hanging = fetch(`${door.url}/api/chat/rooms`, { headers: BEARER }).catch(() => 'cut');
    await eventually(() => chat.requests.length === 1);
    const started = performance.now();
    await door.stop(200);
    expect(performance.now() - started).toBeLessThan(1_000);
    expect(await hanging).toBe('cut');
  });

  test('two gateways share one port when asked to', async () => {
    const one = await gateway({ reusePort: true });
    const two = await gateway({ reusePort: true, port: one.port });
    expect(two.port).toBe(one.port);
    await expect(startGateway({ port: one.port, reusePort: false })).rejects.toThrow(
      `:${one.port}: EADDRINUSE`,
    );
  });
});

describe('configuration', () => {
  const upstreams = Object.fromEntries(
    ['AUTH', 'CHAT', 'CONTENT', 'PROFILE', 'ANALYTICS', 'NOTIFICATIONS'].map((name) => [
      `UPSTREAM_${name}`,
      NOBODY,
    ]),
  );

  test('is typed, with defaults', () => {
    const config = parseGatewayConfig({
      ...upstreams,
      UPSTREAM_CHAT: 'http://a:1, http://b:2',
      CORS_ORIGINS: 'https://x.example/',
    });
    expect(config.upstreams.chat.map(({ url }) => url)).toEqual(['http://a:1', 'http://b:2']);
    expect(config.corsOrigins).toEqual(['https://x.example']);
    expect([config.port, config.internalPort, config.publicUrl]).toEqual([
      8080,
      8081,
      'http://localhost:8080',
    ]);
    expect(config.timings).toEqual(DEFAULT_TIMINGS);
  });

  test('a wrong one is named', () => {
    const parse = () =>
      parseGatewayConfig({
        ...upstreams,
        UPSTREAM_AUTH: undefined,
        PORT: 'x',
        TRUSTED_PROXIES: '10.0.0.0/99',
      });
    expect(parse).toThrow(/UPSTREAM_AUTH/);
    expect(parse).toThrow(/PORT/);
    expect(parse).toThrow(/TRUSTED_PROXIES/);
  });
});
