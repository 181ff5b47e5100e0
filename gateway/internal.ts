import { Problem, problemResponse, unavailable } from '../shared/errors.ts';
import { newId } from '../shared/ids.ts';
import type { EphemeralStore } from '../shared/ports/ephemeral-store.ts';
import { type HttpServer, serve } from '../shared/runtime/serve.ts';
import type { GatewayMetrics } from './metrics.ts';
import type { Health } from './upstreams/replica.ts';
import type { HttpPool } from './proxy/http.ts';

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

/** The port for operators, never for the public: metrics and what is ready, with details. */
export function serveInternal(options: {
  hostname: string;
  port: number;
  metrics: GatewayMetrics;
  readiness: () => Promise<Readiness>;
}): HttpServer {
  const { hostname, port, metrics, readiness } = options;
  const routes: Record<string, () => Promise<Response>> = {
    '/healthz': async () => Response.json({ status: 'ok', service: 'gateway' }),
    '/readyz': async () => {
      const state = await readiness();
      return Response.json(state, {
        status: state.ready ? 200 : 503,
        headers: { 'cache-control': 'no-store' },
      });
    },
    '/metrics': async () =>
      new Response(await metrics.registry.metrics(), {
        headers: { 'content-type': metrics.registry.contentType },
      }),
  };
  return serve({
    hostname,
    port,
    async fetch(request) {
      const route = routes[new URL(request.url).pathname];
      if (!route) return problemResponse(new Problem('not-found', 'There is no such route.'), newId());
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        return problemResponse(
          new Problem('method-not-allowed', undefined, { headers: { allow: 'GET, HEAD' } }),
          newId(),
        );
      }
      return route().catch((error) => problemResponse(unavailable('This page', error), newId()));
    },
  });
}
