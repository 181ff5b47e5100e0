import { isDeepStrictEqual } from 'node:util';
import type { TokenVerifier } from '../shared/auth/tokens.ts';
import { SERVICES, type ServiceName } from '../shared/contracts/common.ts';
import { toProblem } from '../shared/errors.ts';
import type { Log } from '../shared/observability/log.ts';
import type { Metrics } from '../shared/observability/metrics.ts';
import type { EphemeralStore } from '../shared/ports/ephemeral-store.ts';
import type { TlsFiles } from '../shared/runtime/tcp.ts';
import type { GatewayConfig } from './config.ts';
import { controlRoutes } from './control.ts';
import type { Exchange } from './exchange.ts';
import { Deadlines } from './http/deadlines.ts';
import { ResponseHeads } from './http/known-heads.ts';
import { listenHttp } from './http/server.ts';
import { ConnectionPool } from './http/upstream-connection.ts';
import { createReadiness, observationRoutes, serveInternal } from './internal.ts';
import { gatewayMetrics } from './metrics.ts';
import { createOpenApi } from './openapi.ts';
import { createPages } from './pages.ts';
import { createAccessLog } from './policy/access-log.ts';
import { createAdmission } from './policy/admission.ts';
import { createResponseCache } from './policy/cache.ts';
import { createClientOrigin } from './policy/client-address.ts';
import { createCompressor, restoreTags } from './policy/compress.ts';
import { allowedOrigins, createCors } from './policy/cors.ts';
import { announceDeprecation } from './policy/deprecation.ts';
import { createMaintenance } from './policy/maintenance.ts';
import { checkMethod } from './policy/method.ts';
import { addTransportSecurity } from './policy/security-headers.ts';
import { createSwitches } from './policy/switches.ts';
import { CLOSE } from './proxy/frames.ts';
import { HttpProxy } from './proxy/http.ts';
import { createReload, type ReloadReport } from './reload.ts';
import { createRouteTable, type GatewayRoute, ROUTES } from './routes.ts';
import { createSocketDoor, SOCKET_PATH, webSocketOnly } from './sockets.ts';
import { readTlsFiles, sameTls, watchTlsFiles } from './tls.ts';
import { UpstreamPool } from './upstreams/pool.ts';

export interface GatewayOptions {
  config: GatewayConfig;
  ephemeral: EphemeralStore;
  tokens: TokenVerifier;
  log: Log;
  metrics: Metrics;
  /** Several gateway processes on one port. */
  reusePort?: boolean;
  /** Reads the configuration again, for `reload`; throws what is wrong with it. */
  readConfig?: () => GatewayConfig;
  /** Another routing table, for tests. */
  routes?: readonly GatewayRoute[];
}

export interface RunningGateway {
  port: number;
  internalPort: number;
  /** Of the plain port that sends clients to HTTPS. */
  redirectPort: number | undefined;
  /** Reads configuration and certificate again. Rejects, and leaves all as it is, when something is wrong with them. */
  reload(): Promise<ReloadReport>;
  /** Takes no more, finishes what is in hand, closes sockets with 1001; everything is cut after `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

/** Sockets that are switched off are closed over so long, in milliseconds. */
const SWITCH_OFF_MS = 2_000;
/** Refusals that an operator has asked for: nothing to be logged as a failure. */
const DELIBERATE: ReadonlySet<string> = new Set(['switched-off', 'maintenance']);

/** One policy. It answers the exchange, throws the Problem to answer with, or does nothing; a promise only if it must wait. */
type Step = (exchange: Exchange) => void | Promise<void>;

/** The one door of the platform: every request goes through `steps`, every socket through `sockets.ts`. */
export async function createGateway(options: GatewayOptions): Promise<RunningGateway> {
  const { ephemeral, log } = options;
  // Reloading changes it in place.
  const config = { ...options.config, forwardingHeaders: { ...options.config.forwardingHeaders } };
  const { timings, forwardingHeaders } = config;
  let tls = config.tls && readTlsFiles(config.tls);
  const metrics = gatewayMetrics(options.metrics);
  const deadlines = new Deadlines(timings.sweepMs);
  const replyHeads = new ResponseHeads();
  const connectionsTo = (address: { hostname: string; port: number }) =>
    new ConnectionPool(
      address,
      { ...timings, keepAliveMs: timings.upstreamKeepAliveMs },
      deadlines,
      replyHeads,
    );
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

  const routes = createRouteTable(options.routes ?? ROUTES, timings);
  const origins = new Set(allowedOrigins(config.corsOrigins, config.publicUrl));
  const admission = createAdmission({ ...options, config, metrics });
  const accessLog = createAccessLog(log, metrics, config);
  const cache = createResponseCache({
    maxBytes: config.cacheBytes,
    pools,
    names: forwardingHeaders,
    ephemeral,
    registry: metrics.registry,
    log,
  });
  const proxy = new HttpProxy({
    ...timings,
    names: forwardingHeaders,
    filters: [cache.decide, createCompressor(metrics), cache.record],
    metrics,
    fail,
  });
  const openApi = createOpenApi(pools, config.publicUrl, isDeprecated, log);
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
  const originReader = (proxies: readonly string[]) => createClientOrigin(proxies, tls ? 'https' : 'http');
  let readOrigin = originReader(config.trustedProxies);
  const sockets = createSocketDoor({ pool: pools.chat, origins, admission, config, deadlines, metrics, log });
  const switches = await createSwitches({
    store: ephemeral,
    routeNames: routes.routes.map(({ name }) => name),
    onChange() {
      if (switches.socketsOff) sockets.closeAll(CLOSE.tryAgainLater, 'switched off for now', SWITCH_OFF_MS);
    },
    log,
  });

  /** The way of a request, in order. */
  const steps: readonly Step[] = [
    (exchange) => {
      exchange.origin = readOrigin(exchange.peerAddress, exchange.head.headers);
    },
    (exchange) => addTransportSecurity(exchange, https),
    checkMethod,
    createCors(origins),
    await createMaintenance(switches),
    switches.checkSocket,
    sockets.upgrade,
    pages,
    findRoute,
    switches.check,
    announceDeprecation,
    admission.authenticate,
    admission.limit,
    cache.lookUp,
    restoreTags,
    (exchange) => proxy.forward(exchange, exchange.rule!, pools[exchange.rule!.upstream]),
  ];

  function findRoute(exchange: Exchange): void {
    if (exchange.path === SOCKET_PATH || exchange.path === '/socket.io') throw webSocketOnly();
    exchange.rule = routes.find(exchange.method, exchange.path);
    exchange.route = exchange.rule.name;
  }

  function isDeprecated(method: string, path: string): boolean {
    try {
      return routes.find(method, path).deprecation !== undefined;
    } catch {
      return false; // a service may describe more than we let through
    }
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
    if (problem.status >= 500 && !DELIBERATE.has(problem.code)) {
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
    else if (problem.status < 500 || !cache.answerStale(exchange)) exchange.replyProblem(problem);
  }

  const listening = {
    hostname: config.hostname,
    reusePort: options.reusePort ?? false,
    timings,
    deadlines,
    onMalformed: () => metrics.malformed.inc(),
  };
  const server = listenHttp({
    ...listening,
    port: config.port,
    ...(tls ? { tls, http2: config.http2 } : {}),
    onRequest(exchange) {
      metrics.inFlight.now++;
      run(exchange, 0);
    },
    onDone(exchange, cutOff) {
      metrics.inFlight.now--;
      cache.finished(exchange);
      accessLog.record(exchange, cutOff);
    },
  });
  const redirect =
    config.redirectPort === undefined
      ? undefined
      : listenHttp({
          ...listening,
          port: config.redirectPort,
          onRequest: (exchange) =>
            exchange.reply(308, { location: config.publicUrl + exchange.path + exchange.query }),
          onDone: () => {},
        });

  const useTls = (files: TlsFiles): void => {
    server.useTls(files);
    tls = files;
    log.info({}, 'new connections get the new certificate');
  };
  const stopWatchingTls = watchTlsFiles(
    () => config.tls,
    () => tls,
    useTls,
    log,
  );
  const reload = createReload({
    config,
    read:
      options.readConfig &&
      (() => {
        const next = options.readConfig!();
        if (!next.tls !== !config.tls)
          throw new Error('TLS_CERT_FILE: TLS is switched on and off at a start only');
        if (next.tls) readTlsFiles(next.tls);
        return next;
      }),
    appliers: {
      tls(next) {
        const files = next.tls && readTlsFiles(next.tls);
        if (files && tls && !sameTls(files, tls)) useTls(files);
      },
      async upstreams(next) {
        const moved = SERVICES.filter(
          (name) => !isDeepStrictEqual(next.upstreams[name], config.upstreams[name]),
        );
        const done: ServiceName[] = [];
        try {
          for (const name of moved) {
            await pools[name].reload(next.upstreams[name]);
            done.push(name);
          }
        } catch (error) {
          for (const name of done) await pools[name].reload(config.upstreams[name]);
          throw error;
        }
      },
      corsOrigins(next) {
        origins.clear();
        for (const origin of allowedOrigins(next.corsOrigins, config.publicUrl)) origins.add(origin);
      },
      trustedProxies(next) {
        readOrigin = originReader(next.trustedProxies);
      },
      limitScale: (next) => admission.scaleLimits(next.limitScale),
    },
    always: ['tls'],
    log,
  });
  const internal = serveInternal({
    hostname: config.internalHostname,
    port: config.internalPort,
    routes: [...observationRoutes(metrics, readiness), ...controlRoutes(switches, cache, reload)],
  });
  log.info({ port: server.port, internalPort: internal.port, tls: tls !== undefined }, 'gateway is up');

  return {
    port: server.port,
    internalPort: internal.port,
    redirectPort: redirect?.port,
    reload,
    async stop(graceMs) {
      draining = true;
      openApi.stop();
      stopWatchingTls();
      await Promise.all([sockets.stop(graceMs), server.stop(graceMs), redirect?.stop(graceMs)]);
      await Promise.all([switches.stop(), cache.stop()]);
      for (const pool of allPools) pool.stop();
      await internal.stop(graceMs);
      admission.close();
      accessLog.close();
      deadlines.stop();
      log.info({}, 'gateway has stopped');
    },
  };
}
