import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { startGateway, type TestGateway } from '../../gateway/testing.ts';
import { createAnalytics } from '../../services/analytics/service.ts';
import { createAuth } from '../../services/auth/service.ts';
import type { AuthTables } from '../../services/auth/store/tables.ts';
import { createChat } from '../../services/chat/service.ts';
import { createContent } from '../../services/content/service.ts';
import { createNotifications } from '../../services/notifications/service.ts';
import { createProfile } from '../../services/profile/service.ts';
import type { Actor } from '../../shared/auth/access.ts';
import { SERVICES, type ServiceName } from '../../shared/contracts/common.ts';
import type { KernelTables } from '../../shared/db/kernel.ts';
import { deadLetterRoutes } from '../../shared/events/dead-letters.ts';
import { createApp } from '../../shared/http/app.ts';
import { describeRoutes } from '../../shared/http/openapi.ts';
import type { Service, ServiceDeps } from '../../shared/service.ts';
import { startTestService, type TestService } from '../../shared/testing/service.ts';
import { fill, type OpenApi, type Operation, operationsOf } from '../security/open-api.ts';
import { AUTH, answering, HOST, ok, QUIET, RawClient, type RawUpstream, startRawUpstream } from './wire.ts';

/**
 * Every route of every service is reachable through the gateway, at its own service and as it was asked for; nothing
 * else is. What there is, is what the services' own OpenAPI documents say.
 */

type AnyService = Service<KernelTables>;
/** Made, not started: their routes are what counts here. */
let services: Record<ServiceName, AnyService>;
let documents: Record<ServiceName, OpenApi>;
/** One that records for each service, and the gateway before them. */
let recorders: Record<ServiceName, RawUpstream>;
let door: TestGateway;
/** Lends its adapters. */
let host: TestService<AuthTables>;

beforeAll(async () => {
  host = await startTestService(createAuth);
  const deps = host.deps as unknown as ServiceDeps;
  const make = (factory: unknown): Promise<AnyService> =>
    (factory as (deps: ServiceDeps) => Promise<AnyService>)(deps);
  services = {
    auth: await make(createAuth),
    content: await make(createContent),
    chat: await make(createChat),
    profile: await make(createProfile),
    notifications: await make(createNotifications),
    analytics: await make(createAnalytics),
  };
  documents = await forEach(async (name) => {
    const { basePath, routes } = services[name];
    return describeRoutes(name, basePath, [...deadLetterRoutes(deps.bus), ...routes]) as unknown as OpenApi;
  });
  recorders = await forEach((name) =>
    startRawUpstream(
      answering(({ method }) => ok(method === 'HEAD' ? '' : '{}')),
      { openApi: documents[name] },
    ),
  );
  door = await startGateway({
    upstreams: Object.fromEntries(SERVICES.map((name) => [name, recorders[name].url])),
    env: { ...QUIET, LYCEUM_LIMIT_SCALE: '100000' },
  });
}, 120_000);

afterAll(async () => {
  await door?.stop(100);
  for (const name of SERVICES) await recorders?.[name].stop();
  await host?.stop();
}, 60_000);

async function forEach<T>(make: (name: ServiceName) => Promise<T>): Promise<Record<ServiceName, T>> {
  const entries = await Promise.all(SERVICES.map(async (name) => [name, await make(name)] as const));
  return Object.fromEntries(entries) as Record<ServiceName, T>;
}

/** Refused by the service itself for want of something that is no access token. */
const OTHER_CREDENTIALS = new Set(['POST /api/chat/webhooks/{webhookId}']);

const methodsOf = (method: string): string[] => (method === 'GET' ? ['GET', 'HEAD'] : [method]);

/** A request for an operation, with any values where it wants some. */
function requestFor(
  { path, choices }: Operation,
  method: string,
  token = true,
): { target: string; bytes: string } {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => [
    name!,
    '01890000-0000-7000-8000-000000000009',
  ]);
  const target = fill(path, { ...Object.fromEntries(names), ...choices });
  const bodiless = method === 'GET' || method === 'HEAD';
  const lines = `${HOST}${token ? AUTH : ''}${bodiless ? '' : 'Content-Length: 2\r\n'}`;
  return { target, bytes: `${method} ${target} HTTP/1.1\r\n${lines}\r\n${bodiless ? '' : '{}'}` };
}

/** How many requests each recorder has seen. */
const seen = (): Record<string, number> =>
  Object.fromEntries(SERVICES.map((name) => [name, recorders[name].requests.length]));

test('the merged document has every operation of every service, and no other', async () => {
  const merged = (await (await fetch(`${door.url}/openapi.json`)).json()) as OpenApi;
  const titles = (document: OpenApi): string[] => operationsOf(document).map(({ title }) => title);
  expect(titles(merged).sort()).toEqual(SERVICES.flatMap((name) => titles(documents[name])).sort());
  expect(titles(merged).length).toBeGreaterThan(60);
});

describe('every operation reaches its own service as it was asked for', () => {
  for (const name of SERVICES) {
    test(name, async () => {
      const one = await RawClient.open(door.port);
      const lost: string[] = [];
      const operations = operationsOf(documents[name]);
      expect(operations.length).toBeGreaterThan(3);
      for (const operation of operations) {
        for (const method of methodsOf(operation.method)) {
          const before = seen();
          const { target, bytes } = requestFor(operation, method);
          const { status } = await one.ask(bytes, method);
          const last = recorders[name].requests.at(-1);
          const right =
            status === 200 &&
            last?.method === method &&
            last.target === target &&
            JSON.stringify(seen()) === JSON.stringify({ ...before, [name]: before[name]! + 1 });
          if (!right) lost.push(`${method} ${operation.path}: ${status}, seen as ${last?.startLine}`);
        }
      }
      expect(lost).toEqual([]);
      one.close();
    });
  }

  test('without a token just those that the services answer without one', async () => {
    const one = await RawClient.open(door.port);
    const wrong: string[] = [];
    for (const operation of SERVICES.flatMap((name) => operationsOf(documents[name]))) {
      const anonymous: Actor = 'anonymous';
      const needsToken =
        operation.expect?.[anonymous] === 'unauthenticated' && !OTHER_CREDENTIALS.has(operation.title);
      const { status } = await one.ask(
        requestFor(operation, operation.method, false).bytes,
        operation.method,
      );
      if (status !== (needsToken ? 401 : 200)) wrong.push(`${operation.title}: ${status}`);
    }
    expect(wrong).toEqual([]);
    one.close();
  });

  test('the keys that tokens are checked with', async () => {
    const one = await RawClient.open(door.port);
    const before = recorders.auth.requests.length;
    expect((await one.ask(`GET /.well-known/jwks.json HTTP/1.1\r\n${HOST}\r\n`)).status).toBe(200);
    expect(recorders.auth.requests.at(before)?.target).toBe('/.well-known/jwks.json');
    one.close();
  });
});

describe('nothing else reaches a service', () => {
  const OPERATORS = ['/metrics', '/healthz', '/readyz', '/openapi.json'];
  /** The services' base paths are all that begins with them; these look alike or hide one. */
  const elsewhere = [
    '/',
    '/api',
    '/api/',
    '/api/none',
    '/api/none/x',
    '/api/chats',
    '/api/chatx/rooms',
    '/api/profile/me',
    '/apichat/rooms',
    '/api/v1/chat/rooms',
    '/api/api/chat/rooms',
    '/socket.io/',
    '/socket.io/x',
    '/dev/mail',
    '/dev/mail.json',
    '/internal/metrics',
    // Case
    '/API/chat/rooms',
    '/api/Chat/rooms',
    '/api/CHAT/rooms',
    '/.Well-Known/jwks.json',
    // Semicolons
    '/api;x/chat/rooms',
    '/api/chat;x=1/rooms',
    '/;/api/chat/rooms',
    '/api/;chat/rooms',
    '/metrics;x',
    // Dots and what leaves the base path
    '/api/chat/../../metrics',
    '/api/chat/%2e%2e/%2E%2e/metrics',
    '/api/chat/./../../metrics',
    '/api/chat/x/../../../metrics',
    '/api/chat/..',
    '/api/chat/../',
    '/api/chat/%2e%2e',
    '/api/../metrics',
    '/..',
    '/../metrics',
    '/%2e%2e/metrics',
    '/api/../../metrics',
    '/./metrics',
    '/.',
    '/api/chat%2e/rooms',
    '/api/.chat/rooms',
    '/api/chat./rooms',
    // Slashes
    '//metrics',
    '//api/chat/rooms',
    '/api//chat/rooms',
    '/api/chat//rooms',
    '///',
    '/api/chat/rooms//',
    '/api%2fchat/rooms',
    '/api/chat%2frooms',
    '/api/chat/..%2f..%2fmetrics',
    '/%2fmetrics',
    '/api/chat/%2e%2e%2f%2e%2e%2fmetrics',
    '/api/chat/..%5c..%5cmetrics',
    '/api/chat/..\\..\\metrics',
    '\\metrics',
    // Escapes
    '/api/chat/%00',
    '/api/chat%00/rooms',
    '/api/chat/%0d%0aX:%201',
    '/api/chat/%',
    '/api/chat/%4',
    '/api/chat/%zz',
    '/api/chat/%u002e%u002e/metrics',
    '/api%2Echat/rooms',
    '/%61pi%2fchat/rooms',
    '/api/%2563hat/rooms',
    '/api/chat/%c0%ae%c0%ae%2fmetrics',
    // Other forms of a target
    'http://127.0.0.1/api/chat/rooms',
    'http://school.example/api/chat/rooms',
    'HTTP://school.example/metrics',
    'https://other.example/api/chat/rooms',
    'file:///api/chat/rooms',
    'api/chat/rooms',
    '*',
    '?/api/chat/rooms',
    '/api/chat/rooms#x',
    '/api/chat/caf\xe9',
    '/?/api/chat/rooms',
    '/metrics?/api/chat/rooms',
  ];

  test('paths beside the table, and tricks to get there', async () => {
    const before = JSON.stringify(seen());
    const surprises: string[] = [];
    for (const target of [...OPERATORS, ...OPERATORS.map((path) => `${path}/`), ...elsewhere]) {
      for (const method of ['GET', 'HEAD', 'POST', 'DELETE']) {
        const one = await RawClient.open(door.port);
        const body = method === 'POST' ? 'Content-Length: 2\r\n\r\n{}' : '\r\n';
        const { status } = await one.ask(
          `${method} ${target} HTTP/1.1\r\n${HOST}${AUTH}Connection: close\r\n${body}`,
          method,
        );
        const own = status === 200 && ['/', '/.', '/?/api/chat/rooms', ...OPERATORS].includes(target);
        if (!own && ![400, 404, 405, 503].includes(status)) surprises.push(`${method} ${target}: ${status}`);
        if (JSON.stringify(seen()) !== before) surprises.push(`${method} ${target} has reached a service`);
        one.close();
      }
    }
    expect(surprises).toEqual([]);
  }, 60_000);

  test('what the gateway says itself is its own', async () => {
    for (const path of OPERATORS) {
      const response = await fetch(door.url + path);
      const text = await response.text();
      if (path === '/metrics') expect(response.status).toBe(404);
      else expect([path, text === '{}']).toEqual([path, false]);
    }
  });

  test("a service's own pages are at no path below its base either", async () => {
    const { deps } = host;
    for (const name of SERVICES) {
      const { basePath, routes } = services[name];
      const app = createApp({
        ...(deps as unknown as ServiceDeps),
        service: name,
        basePath,
        routes,
        nudge() {},
      });
      const { headers } = await host.signIn({ role: 'admin' });
      for (const path of OPERATORS) {
        const reply = await app.request(basePath + path, { headers });
        expect([basePath + path, reply.status >= 400 && reply.status < 500]).toEqual([basePath + path, true]);
        expect(((await reply.json()) as { type: string }).type).toStartWith('urn:lyceum:problem:');
      }
    }
  });

  test('methods that no route has', async () => {
    const before = seen();
    for (const method of [
      'TRACE',
      'PROPFIND',
      'PURGE',
      'M-SEARCH',
      'get',
      'Get',
      'GETX',
      'QUERY',
      'PRI',
      'OPTIONS',
    ]) {
      const one = await RawClient.open(door.port);
      const { status } = await one.ask(`${method} /api/chat/rooms HTTP/1.1\r\n${HOST}${AUTH}\r\n`, method);
      expect([method, [400, 404, 405, 501].includes(status)]).toEqual([method, true]);
      one.close();
    }
    expect(seen()).toEqual(before);
  });
});
