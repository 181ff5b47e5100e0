import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TokenVerifier } from '../shared/auth/tokens.ts';
import { SERVICES, type ServiceName } from '../shared/contracts/common.ts';
import { Problem, toProblem } from '../shared/errors.ts';
import { newId } from '../shared/ids.ts';
import type { Log } from '../shared/observability/log.ts';
import type { Metrics } from '../shared/observability/metrics.ts';
import type { EphemeralStore } from '../shared/ports/ephemeral-store.ts';
import { listenGateway } from '../shared/runtime/gateway-server.ts';
import type { GatewayConfig } from './config.ts';
import { Exchange } from './exchange.ts';
import { createReadiness, serveInternal } from './internal.ts';
import { gatewayMetrics } from './metrics.ts';
import { createOpenApi } from './openapi.ts';
import { createPages } from './pages.ts';
import { recordAccess } from './policy/access-log.ts';
import { authenticate } from './policy/authenticate.ts';
import { createClientOrigin } from './policy/client-address.ts';
import { allowedOrigins, applyCors } from './policy/cors.ts';
import { checkRequestHead } from './policy/host.ts';
import { createRateLimiter } from './policy/rate-limit.ts';
import { addSecurityHeaders } from './policy/security-headers.ts';
import { ClientGone } from './proxy/body.ts';
import { createHttpProxy } from './proxy/http.ts';
import { UpstreamPool } from './proxy/upstreams.ts';
import { type GatewayRoute, matchRoute, publicMethods, RATE_CLASSES, rateClassOf } from './routes.ts';
import { createSocketDoor, rawProblem, SOCKET_PATH, webSocketOnly } from './sockets.ts';

export interface GatewayOptions {
  config: GatewayConfig;
  ephemeral: EphemeralStore;
  /** Of this process alone: where limits are counted while the shared store is away. */
  localStore: EphemeralStore;
  tokens: TokenVerifier;
  log: Log;
  metrics: Metrics;
  /** Several gateway processes on one port. */
  reusePort?: boolean;
}

export interface RunningGateway {
  port: number;
  internalPort: number;
  /** Takes no more, finishes what is in hand, closes sockets with 1001; everything is cut after `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

/** The one door of the platform: every request goes through the steps of `answer`, every socket through `sockets.ts`. */
export async function createGateway(options: GatewayOptions): Promise<RunningGateway> {
  const { config, ephemeral, localStore, tokens, log } = options;
  const { timings } = config;
  const metrics = gatewayMetrics(options.metrics);
  const pools = Object.fromEntries(
    SERVICES.map((name) => [name, new UpstreamPool(name, config.upstreams[name], timings.downMs)]),
  ) as Record<ServiceName, UpstreamPool>;
  const origins = allowedOrigins(config.corsOrigins, config.publicUrl);
  const clientOrigin = createClientOrigin(config.trustedProxies);
  const limiter = createRateLimiter({
    store: ephemeral,
    local: localStore,
    scale: config.limitScale,
    storeMs: timings.storeMs,
    metrics,
    log,
  });
  const proxy = createHttpProxy(timings, metrics);
  const openApi = createOpenApi(pools, config.publicUrl, log);
  const readiness = createReadiness(Object.values(pools), ephemeral);
  let draining = false;
  const pages = await createPages({ config, openApi, proxy, readiness, draining: () => draining });
  const sockets = createSocketDoor({
    pool: pools.chat,
    origins,
    clientOrigin,
    limiter,
    timings,
    metrics,
    log,
  });

  /** The way of a request, step by step. What a step throws is the reply. */
  async function answer(exchange: Exchange): Promise<void> {
    Object.assign(exchange, clientOrigin(exchange.request));
    addSecurityHeaders(exchange, config.publicUrl);
    checkRequestHead(exchange);
    if (applyCors(exchange, origins)) return;
    if (await pages(exchange)) return;
    if (exchange.path === SOCKET_PATH || exchange.path === '/socket.io') throw webSocketOnly();
    const open = publicMethods(exchange.path);
    if (open.length > 0 && !open.some((method) => method === exchange.method)) {
      throw new Problem('method-not-allowed', undefined, { headers: { allow: open.join(', ') } });
    }
    const route = matchRoute(exchange.method, exchange.path);
    if (!route) throw new Problem('not-found', 'There is no such route.');
    exchange.route = route.name;
    await admit(exchange, route);
    await proxy.forward(exchange, route, pools[route.upstream]);
  }

  /** Who it is, then how often: a refused token counts against its address. */
  async function admit(exchange: Exchange, route: GatewayRoute): Promise<void> {
    try {
      await authenticate(exchange, route, tokens);
    } catch (error) {
      if (error instanceof Problem && error.status === 401)
        await limiter.take(exchange, RATE_CLASSES.refused);
      throw error;
    }
    await limiter.take(exchange, rateClassOf(route, exchange.method));
  }

  function onRequest(request: IncomingMessage, response: ServerResponse): void {
    const exchange = new Exchange(request, response, timings.lingerMs);
    request.on('error', () => {});
    response.on('error', () => {});
    recordAccess(exchange, log, metrics);
    answer(exchange).catch((error) => fail(exchange, error));
  }

  function fail(exchange: Exchange, error: unknown): void {
    if (error instanceof ClientGone) return void exchange.response.destroy();
    const problem = toProblem(error);
    if (problem.status >= 500) {
      const cause = problem.cause ?? problem;
      const reason =
        cause instanceof Error ? (problem.status === 500 ? cause.stack : cause.message) : String(cause);
      const { requestId, route, upstream } = exchange;
      log[problem.status === 500 ? 'error' : 'warn'](
        { requestId, route, upstream, code: problem.code, reason },
        'request failed',
      );
    }
    // Once the head is out, breaking off is the only honest answer left.
    if (exchange.response.headersSent) exchange.response.destroy();
    else exchange.replyProblem(problem);
  }

  const internal = serveInternal({
    hostname: config.internalHostname,
    port: config.internalPort,
    metrics,
    readiness,
  });
  const server = await listenGateway({
    hostname: config.hostname,
    port: config.port,
    reusePort: options.reusePort ?? false,
    keepAliveMs: timings.keepAliveMs,
    onRequest,
    onUpgrade: sockets.upgrade,
    malformedReply: (code) =>
      rawProblem(
        code === 'HPE_HEADER_OVERFLOW'
          ? new Problem('headers-too-large')
          : new Problem('validation-failed', 'Not a valid HTTP/1.1 request.'),
        { requestId: newId(), headers: new Map() },
      ),
  });
  log.info({ port: server.port, internalPort: internal.port }, 'gateway is up');

  return {
    port: server.port,
    internalPort: internal.port,
    async stop(graceMs) {
      draining = true;
      openApi.stop();
      await Promise.all([sockets.stop(graceMs), server.stop(graceMs)]);
      proxy.close();
      await internal.stop(graceMs);
      log.info({}, 'gateway has stopped');
    },
  };
}
