import { isIP } from 'node:net';
import { Problem, problemResponse, unavailable } from '../shared/errors.ts';
import { parseJson, readBytes } from '../shared/http/body.ts';
import { newId } from '../shared/ids.ts';
import type { EphemeralStore } from '../shared/ports/ephemeral-store.ts';
import { type HttpServer, serve } from '../shared/runtime/serve.ts';
import type { GatewayMetrics } from './metrics.ts';
import type { HttpPool } from './proxy/http.ts';
import type { Health } from './upstreams/replica.ts';

/** How long an answer about readiness is used again, in milliseconds: probes come from many sides. */
const FRESH_MS = 1_000;

export interface Readiness {
  ready: boolean;
  dependencies: Record<string, DependencyState>;
}

export interface DependencyState {
  ok: boolean;
  /** Per replica, for services. */
  replicas?: Record<string, Health>;
}

async function stateOf(pool: HttpPool): Promise<DependencyState> {
  await pool.check();
  const { ready, replicas } = pool.state();
  return { ok: ready, replicas: Object.fromEntries(replicas.map(({ name, health }) => [name, health])) };
}

/** The state of each dependency, asked at most once a second. */
export function createReadiness(
  pools: HttpPool[],
  ephemeral: EphemeralStore,
  limitsDegraded: () => boolean,
): () => Promise<Readiness> {
  let known: Promise<Readiness> | undefined;
  let askedAt = 0;
  const ask = async (): Promise<Readiness> => {
    const store = ephemeral.ready().then(
      () => ({ ok: true }),
      () => ({ ok: false }),
    );
    const late = new Promise<DependencyState>((resolve) =>
      setTimeout(() => resolve({ ok: false }), 2_000).unref?.(),
    );
    const entries: [string, DependencyState][] = await Promise.all([
      ...pools.map(async (pool): Promise<[string, DependencyState]> => [pool.name, await stateOf(pool)]),
      Promise.race([store, late]).then((state): [string, DependencyState] => ['ephemeral-store', state]),
      ['limits', { ok: !limitsDegraded() }],
    ]);
    return { ready: entries.every(([, { ok }]) => ok), dependencies: Object.fromEntries(entries) };
  };
  return () => {
    if (!known || Date.now() - askedAt > FRESH_MS) {
      askedAt = Date.now();
      known = ask();
    }
    return known;
  };
}

/** A call on the operators' port. */
export interface InternalRoute {
  method: 'GET' | 'POST' | 'PUT';
  /** `{x}` is one segment. */
  path: string;
  /** Said on the list of all calls. */
  does: string;
  answer(call: { params: Record<string, string>; body: unknown }): Promise<Response> | Response;
}

/** What there is to see: metrics, and what is ready, with details. */
export const observationRoutes = (
  metrics: GatewayMetrics,
  readiness: () => Promise<Readiness>,
): InternalRoute[] => [
  {
    method: 'GET',
    path: '/healthz',
    does: 'says that the process lives',
    answer: () => Response.json({ status: 'ok', service: 'gateway' }),
  },
  {
    method: 'GET',
    path: '/readyz',
    does: 'the state of each service and store',
    async answer() {
      const state = await readiness();
      return Response.json(state, { status: state.ready ? 200 : 503 });
    },
  },
  {
    method: 'GET',
    path: '/metrics',
    does: 'metrics for Prometheus',
    answer: async () =>
      new Response(await metrics.registry.metrics(), {
        headers: { 'content-type': metrics.registry.contentType },
      }),
  },
];

/** Nobody has so much to say to a gateway. */
const MAX_BODY_BYTES = 65_536;

/** The port for operators, never for the public. `GET /` lists what it has. */
export function serveInternal(options: {
  hostname: string;
  port: number;
  routes: readonly InternalRoute[];
}): HttpServer {
  const { hostname, port } = options;
  const list: InternalRoute = {
    method: 'GET',
    path: '/',
    does: 'this list',
    answer: () => Response.json({ calls: routes.map(({ method, path, does }) => ({ method, path, does })) }),
  };
  const routes = [list, ...options.routes];
  return serve({
    hostname,
    port,
    async fetch(request) {
      try {
        const response = await answer(routes, request, hostname);
        if (!response.headers.has('cache-control')) response.headers.set('cache-control', 'no-store');
        return response;
      } catch (error) {
        return problemResponse(error instanceof Problem ? error : unavailable('This page', error), newId());
      }
    },
  });
}

async function answer(
  routes: readonly InternalRoute[],
  request: Request,
  hostname: string,
): Promise<Response> {
  const { pathname } = new URL(request.url);
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  const there = routes.flatMap((route) => {
    const params = match(route.path, pathname);
    return params ? [{ route, params }] : [];
  });
  if (there.length === 0) throw new Problem('not-found', 'There is no such call: GET / lists them.');
  const found = there.find(({ route }) => route.method === method);
  if (!found) {
    const allow = there.map(({ route }) => (route.method === 'GET' ? 'GET, HEAD' : route.method)).join(', ');
    throw new Problem('method-not-allowed', undefined, { headers: { allow } });
  }
  const body = method === 'GET' ? undefined : await readChange(request, hostname);
  return found.route.answer({ params: found.params, body });
}

function match(pattern: string, path: string): Record<string, string> | undefined {
  const wanted = pattern.split('/');
  const given = path.split('/');
  if (wanted.length !== given.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, segment] of wanted.entries()) {
    if (segment.startsWith('{')) params[segment.slice(1, -1)] = given[index]!;
    else if (segment !== given[index]) return undefined;
  }
  return params;
}

/**
 * The body of a call that changes something. No page in a browser may make one: it would say where it comes from, could
 * not say that it sends JSON without asking before, and would call us by the name that it made point to us.
 */
async function readChange(request: Request, hostname: string): Promise<unknown> {
  const { headers } = request;
  if (headers.has('origin') || headers.has('sec-fetch-site'))
    throw new Problem('forbidden', 'This port is not for browsers.');
  const host = (headers.get('host') ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  if (isIP(host) === 0 && host !== 'localhost' && host !== hostname)
    throw new Problem('forbidden', 'Call this port by its address, or as localhost.');
  const type = headers.get('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') throw new Problem('unsupported-media-type', 'Send application/json.');
  return parseJson(request, await readBytes(request, MAX_BODY_BYTES)) ?? {};
}
