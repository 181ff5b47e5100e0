import { afterEach, describe, expect, test } from 'bun:test';
import { type GatewayRoute, ROUTES } from '../routes.ts';
import { BEARER, startedForOneTest, startGateway } from '../testing.ts';
import type { DeprecatedSince } from './deprecation.ts';

const { stopAll, upstream, gateway } = startedForOneTest();
afterEach(stopAll);

/** The real table with one more line in front. */
const withDeprecated = (deprecated: DeprecatedSince): GatewayRoute[] => [
  {
    name: 'profile.old',
    methods: ['GET'],
    pattern: '/api/profiles/old/{id}',
    upstream: 'profile',
    token: 'none',
    body: 'json',
    bodyLimit: 0,
    deprecated,
  },
  ...ROUTES,
];

describe('deprecated routes', () => {
  test('say so, since when, until when, and what to use instead', async () => {
    const service = await upstream((_, response) =>
      response.writeHead(200, { link: '</next>; rel="next"' }).end('{}'),
    );
    const routes = withDeprecated({
      since: '2026-01-31',
      sunset: '2099-12-31T12:00:00Z',
      link: '/docs#profiles',
      goneAtSunset: true,
    });
    const door = await gateway({ upstreams: { profile: service.url }, routes });
    const reply = await fetch(`${door.url}/api/profiles/old/1`);
    expect(reply.status).toBe(200);
    expect(reply.headers.get('deprecation')).toBe('@1769817600');
    expect(reply.headers.get('sunset')).toBe('Thu, 31 Dec 2099 12:00:00 GMT');
    expect(reply.headers.get('link')).toBe(
      '</docs#profiles>; rel="deprecation sunset"; type="text/html", </next>; rel="next"',
    );
    const other = await fetch(`${door.url}/api/profiles/me`, { headers: BEARER });
    expect(other.headers.get('deprecation')).toBeNull();
    expect(other.headers.get('link')).toBe('</next>; rel="next"');
  });

  test('past their sunset: gone, if the table says so', async () => {
    const service = await upstream((_, response) => response.end('{}'));
    const past = { since: '2020-01-01', sunset: '2021-01-01', link: 'https://school.example/news' };
    const gone = await gateway({
      upstreams: { profile: service.url },
      routes: withDeprecated({ ...past, goneAtSunset: true }),
    });
    const reply = await fetch(`${gone.url}/api/profiles/old/1`);
    const body = (await reply.json()) as { code: string; detail: string };
    expect([reply.status, body.code]).toEqual([410, 'gone']);
    expect(body.detail).toContain('https://school.example/news');
    expect(reply.headers.get('sunset')).toBe('Fri, 01 Jan 2021 00:00:00 GMT');
    expect(service.requests).toHaveLength(0);
    const still = await gateway({ upstreams: { profile: service.url }, routes: withDeprecated(past) });
    expect((await fetch(`${still.url}/api/profiles/old/1`)).status).toBe(200);
  });

  test('are marked in the reference', async () => {
    const paths = { '/api/profiles/old/{userId}': { get: {}, put: {} }, '/api/profiles/me': { get: {} } };
    const service = await upstream(
      (_, response) => response.end('{}'),
      (request, response) =>
        request.url === '/openapi.json'
          ? response.end(JSON.stringify({ openapi: '3.1.0', paths, components: { schemas: {} }, tags: [] }))
          : response.end('{}'),
    );
    const door = await gateway({
      upstreams: { profile: service.url },
      routes: withDeprecated({ since: '2026-01-31' }),
    });
    const document = (await (await fetch(`${door.url}/openapi.json`)).json()) as { paths: typeof paths };
    expect(document.paths).toEqual({
      '/api/profiles/old/{userId}': { get: { deprecated: true }, put: {} },
      '/api/profiles/me': { get: {} },
    });
  });

  test('a wrong line stops the start and says why', async () => {
    const fault = (deprecated: DeprecatedSince) =>
      startGateway({ routes: withDeprecated(deprecated) }).then(
        () => 'started',
        (error: Error) => error.message,
      );
    const since = '2026-01-31';
    expect(await fault({ since: 'last year' })).toBe(
      'gateway/routes.ts: profile.old: deprecated since last year is no day and no time in UTC',
    );
    expect(await fault({ since, sunset: '2026-13-01' })).toContain('sunset 2026-13-01 is no day');
    expect(await fault({ since, sunset: '2025-01-01' })).toContain('its sunset is before its deprecation');
    expect(await fault({ since, goneAtSunset: true })).toContain('a sunset that it does not have');
    for (const link of ['//evil.example', 'http://x', 'docs', '/a>; rel="x"', '/a\r\nx: y'])
      expect(await fault({ since, link })).toContain('is neither a path nor an https URL');
  });
});
