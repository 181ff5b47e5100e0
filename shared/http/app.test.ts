import { expect, test } from 'bun:test';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import { anyone } from '../auth/access.ts';
import type { KernelTables } from '../db/kernel.ts';
import { silentLog } from '../observability/log.ts';
import { createMetrics } from '../observability/metrics.ts';
import { createApp } from './app.ts';
import { reply, routeFor } from './route.ts';

const route = routeFor<KernelTables>();
const tokens = {
  verify: () => Promise.reject(new Error('unused')),
  fromHeader: async () => undefined,
  known: () => undefined,
  knownHeader: () => undefined,
  close: async () => {},
};

const app = createApp({
  service: 'content',
  basePath: '/api/content',
  routes: [
    route(
      {
        method: 'get',
        path: '/thing',
        summary: 'A thing with an entity tag',
        access: anyone(),
        etag: true,
        replies: { 200: { description: 'It', schema: z.object({ text: z.string() }) } },
      },
      async () => reply(200, { text: 'Grüße' }),
    ),
    route(
      {
        method: 'post',
        path: '/thing/publish',
        summary: 'Takes no body',
        access: anyone(),
        replies: { 204: { description: 'Done' } },
      },
      async () => reply(204),
    ),
  ],
  // No route here touches the database.
  db: undefined as unknown as Kysely<KernelTables>,
  tokens,
  log: silentLog,
  metrics: createMetrics('content'),
  nudge: () => {},
});
const call = async (method: string, path: string, init: RequestInit = {}): Promise<Response> =>
  app.fetch(new Request(`http://test/api/content${path}`, { method, ...init }));

test('HEAD has the headers of GET, the length too', async () => {
  const [get, head] = [await call('GET', '/thing'), await call('HEAD', '/thing')];
  const length = String((await get.arrayBuffer()).byteLength);
  for (const response of [get, head]) {
    expect(response.status).toBe(200);
    expect(response.headers.get('content-length')).toBe(length);
    expect(response.headers.get('etag')).toBe(get.headers.get('etag'));
  }
  expect(await head.text()).toBe('');
});

test('If-None-Match gives 304, and If-Match 412 for another tag', async () => {
  const etag = (await call('GET', '/thing')).headers.get('etag')!;
  const status = async (headers: Record<string, string>) => (await call('GET', '/thing', { headers })).status;
  expect(await status({ 'if-none-match': etag })).toBe(304);
  expect(await status({ 'if-match': etag })).toBe(200);
  expect(await status({ 'if-match': '"another"' })).toBe(412);
});

test('a route without a body takes none or an empty object, and refuses fields', async () => {
  const headers = { 'content-type': 'application/json' };
  const status = async (init: RequestInit) => (await call('POST', '/thing/publish', init)).status;
  expect(await status({})).toBe(204);
  expect(await status({ headers, body: '{}' })).toBe(204);
  expect(await status({ headers, body: '{"force":true}' })).toBe(400);
  expect(await status({ headers, body: '{' })).toBe(400);
});
