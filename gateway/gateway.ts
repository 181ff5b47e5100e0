import type { TokenVerifier } from '../shared/auth/tokens.ts';
import { SERVICES, type ServiceName } from '../shared/contracts/common.ts';
import { toProblem } from '../shared/errors.ts';
import type { Log } from '../shared/observability/log.ts';
import type { Metrics } from '../shared/observability/metrics.ts';
import type { EphemeralStore } from '../shared/ports/ephemeral-store.ts';
import type { GatewayConfig } from './config.ts';
import type { Exchange } from './exchange.ts';
import { Deadlines } from './http/deadlines.ts';
import { listenHttp } from './http/server.ts';
import { ConnectionPool } from './http/upstream-connection.ts';
import { createReadiness, serveInternal } from './internal.ts';
import { gatewayMetrics } from './metrics.ts';
import { createOpenApi } from './openapi.ts';
import { createPages } from './pages.ts';
import { createAccessLog } from './policy/access-log.ts';
import { createAdmission } from './policy/admission.ts';
import { createClientOrigin } from './policy/client-address.ts';
import { allowedOrigins, createCors } from './policy/cors.ts';
import { checkMethod } from './policy/method.ts';
import { addTransportSecurity } from './policy/security-headers.ts';
import { HttpProxy } from './proxy/http.ts';
import { createRouteTable, ROUTES } from './routes.ts';
import { createSocketDoor, SOCKET_PATH, webSocketOnly } from './sockets.ts';
import { UpstreamPool } from './upstreams/pool.ts';

export interface GatewayOptions {
  config: GatewayConfig;
  ephemeral: EphemeralStore;
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

/** One policy. It answers the exchange, throws the Problem to answer with, or does nothing; a promise only if it must wait. */
type Step = (exchange: Exchange) => void | Promise<void>;

/** The one door of the platform: every request goes through `steps`, every socket through `sockets.ts`. */
export async function createGateway(options: GatewayOptions): Promise<RunningGateway> {
  const { config, ephemeral, log } = options;
  const { timings } = config;
  const metrics = gatewayMetrics(options.metrics);
  const deadlines = new Deadlines(timings.sweepMs);
  const connectionsTo = (address: { hostname: string; port: number }) =>
    new ConnectionPool(address, { ...timings, keepAliveMs: timings.upstreamKeepAliveMs }, deadlines);
  const pools = {} as Record<ServiceName, UpstreamPool<ConnectionPool>>;
  const openPool = (name: ServiceName | 'dev-mail', targets: GatewayConfig['upstreams'][ServiceName]) =>
    new UpstreamPool<ConnectionPool>({
      name,
      targets,
      settings: config.upstreamSettings[name],
      connect: connectionsTo,
      closeConnections: (connections, graceful) => connections.close(graceful),
      log,
      metrics,
    });
  for (const name of SERVICES) pools[name] = openPool(name, config.upstreams[name]);
  const mail = config.devMail ? openPool('dev-mail', config.devMail) : undefined;
  const allPools = [...Object.values(pools), ...(mail ? [mail] : [])];
  await Promise.all(allPools.map((pool) => pool.start()));

  const routes = createRouteTable(ROUTES, timings);
  const origins = allowedOrigins(config.corsOrigins, config.publicUrl);
  const admission = createAdmission({ ...options, metrics });
  const accessLog = createAccessLog(log, metrics, config.accessLogSample);
  const proxy = new HttpProxy({ ...timings, names: config.forwardingHeaders, filters: [], metrics, fail });
  const openApi = createOpenApi(pools, config.publicUrl, log);
  const readiness = createReadiness(Object.values(pools), ephemeral, admission.degraded);
  let draining = false;
  const pages = await createPages({
    config,
    openApi,
    mail: mail && ((exchange, rule) => proxy.forward(exchange, rule, mail)),
    readiness,
    draining: () => draining,
  });
  const https = config.publicUrl.startsWith('https://');
  const readOrigin = createClientOrigin(config.trustedProxies);
  const sockets = createSocketDoor({ pool: pools.chat, origins, admission, config, deadlines, metrics, log });

  /** The way of a request, in order. */
  const steps: readonly Step[] = [
    (exchange) => {
      exchange.origin = readOrigin(exchange.peerAddress, exchange.head.headers);
    },
    (exchange) => addTransportSecurity(exchange, https),
    checkMethod,
    createCors(origins),
    sockets.upgrade,
    pages,
    findRoute,
    admission.authenticate,
    admission.limit,
    (exchange) => proxy.forward(exchange, exchange.rule!, pools[exchange.rule!.upstream]),
  ];

  function findRoute(exchange: Exchange): void {
    if (exchange.path === SOCKET_PATH || exchange.path === '/socket.io') throw webSocketOnly();
    exchange.rule = routes.find(exchange.method, exchange.path);
    exchange.route = exchange.rule.name;
  }

  function run(exchange: Exchange, from: number): void {
    try {
      for (let index = from; index < steps.length && !exchange.handled && !exchange.gone; index++) {
        const waiting = steps[index]!(exchange);
        if (waiting === undefined) continue;
        waiting.then(
          () => run(exchange, index + 1),
          (error) => fail(exchange, error),
        );
        return;
      }
    } catch (error) {
      fail(exchange, error);
    }
  }

  function fail(exchange: Exchange, error: unknown): void {
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
    if (exchange.replyStarted) exchange.cutOff();
    else exchange.replyProblem(problem);
  }

  const internal = serveInternal({
    hostname: config.internalHostname,
    port: config.internalPort,
    metrics,
    readiness,
  });
  const server = listenHttp({
    hostname: config.hostname,
    port: config.port,
    reusePort: options.reusePort ?? false,
    timings,
    deadlines,
    onRequest(exchange) {
      metrics.inFlight.now++;
      run(exchange, 0);
    },
    onDone(exchange, cutOff) {
      metrics.inFlight.now--;
      accessLog.record(exchange, cutOff);
    },
    onMalformed: () => metrics.malformed.inc(),
  });
  log.info({ port: server.port, internalPort: internal.port }, 'gateway is up');

  return {
    port: server.port,
    internalPort: internal.port,
    async stop(graceMs) {
      draining = true;
      openApi.stop();
      await Promise.all([sockets.stop(graceMs), server.stop(graceMs)]);
      for (const pool of allPools) pool.stop();
      await internal.stop(graceMs);
      admission.close();
      accessLog.close();
      deadlines.stop();
      log.info({}, 'gateway has stopped');
    },
  };
}
