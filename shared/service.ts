import type { Hono } from 'hono';
import type { Kysely } from 'kysely';
import type { TokenVerifier } from './auth/tokens.ts';
import type { ServiceName } from './contracts/common.ts';
import type { KernelTables, Migration } from './db/kernel.ts';
import { migrate } from './db/migrate.ts';
import { type ConsumerOptions, startConsumer } from './events/consumer.ts';
import { deadLetterRoutes } from './events/dead-letters.ts';
import { type OutboxRelay, startOutboxRelay, sweepKernelTables } from './events/outbox.ts';
import { createApp } from './http/app.ts';
import { Context, type Origin } from './http/context.ts';
import { describeRoutes } from './http/openapi.ts';
import type { Route } from './http/route.ts';
import { newId } from './ids.ts';
import { type Job, startJobs } from './jobs.ts';
import type { Log } from './observability/log.ts';
import type { Metrics } from './observability/metrics.ts';
import { currentTraceparent } from './observability/trace.ts';
import type { EphemeralStore } from './ports/ephemeral-store.ts';
import type { EventBus, Subscription } from './ports/event-bus.ts';
import type { Mailer } from './ports/mailer.ts';
import type { ObjectStore } from './ports/object-store.ts';
import type { SocketAdapter } from './ports/socket-adapter.ts';
import { type HttpServer, serve, withDeadline } from './runtime/serve.ts';

/** What a platform gives a service. Which adapter stands behind a port is the platform's secret. */
export interface ServiceDeps<S extends KernelTables = KernelTables> {
  db: Kysely<S>;
  /** The same database without a limit on how long a statement takes, for migrations; closed after them. */
  migrationDb?: Kysely<S>;
  bus: EventBus;
  objects: ObjectStore;
  ephemeral: EphemeralStore;
  mailer: Mailer;
  socketAdapter: SocketAdapter;
  tokens: TokenVerifier;
  log: Log;
  metrics: Metrics;
  settings: Settings;
}

/** Configuration that more than one service reads. */
export interface Settings {
  /** Where people reach the gateway, without a slash at the end: links in mails start with it. */
  publicUrl: string;
  /** Version from package.json. */
  version: string;
  /** Multiplies every rate limit (`LYCEUM_LIMIT_SCALE`): 1 for a real school, more for load tests. */
  limitScale: number;
  /** How long an access token lives, in seconds. */
  accessTokenSeconds: number;
  /** Makes the first administrator of an installation, if set and absent. */
  firstAdmin?: { email: string; password: string } | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: each queue has its own handler types, checked where it is written
type AnyConsumer = Pick<ConsumerOptions<any, any>, 'queue' | 'handlers' | 'prefetch' | 'retry'>;

/** What a service is made of; `createChat(deps)` and its like return one. */
export interface Service<S extends KernelTables = KernelTables> {
  name: ServiceName;
  /** `/api/chat` */
  basePath: string;
  migrations: Migration[];
  routes: Route<S>[];
  consumers?: AnyConsumer[];
  jobs?: Job[];
  /** What the service needs in order to answer; each entry rejects while it is away. */
  readiness: Record<string, () => Promise<void>>;
  /** Adds what is not a described route (the key set, sockets' HTTP). */
  extendHttp?: (app: Hono) => void;
  /** After migrations, before requests. With the outbox relay: for doors other than HTTP. */
  start?: (relay: OutboxRelay) => Promise<void>;
  /** Before the database is let go. */
  stop?: () => Promise<void>;
  /** Replaces the plain HTTP server, for the service that owns sockets. */
  listen?: (options: {
    hostname: string;
    port: number;
    fetch: (request: Request) => Response | Promise<Response>;
  }) => HttpServer | Promise<HttpServer>;
}

export interface RunningService {
  name: ServiceName;
  port: number;
  /** From now on `/readyz` says `draining`: gateways send nothing new, while what comes is still answered. */
  announceStop(): void;
  /** Drains: no new requests, consumers finish, what the relay holds is published or left to another; everything is cut after `graceMs`. */
  stop(graceMs?: number): Promise<void>;
}

const systemOrigin = (): Origin => ({
  requestId: newId(),
  traceparent: currentTraceparent(),
  ip: '',
  userAgent: 'lyceum',
});

/** A context for event handlers and jobs of a service. Inside `once`, pass the transaction: its events commit with it. */
export const systemContext = <S extends KernelTables>(deps: ServiceDeps<S>, tx?: Kysely<S>): Context<S> =>
  new Context<S>(tx ?? deps.db, undefined, systemOrigin(), deps.log, () => {}, tx ? [] : undefined);

/** Brings a service up: schema, consumers, outbox relay, jobs, HTTP. Its own port also has health, readiness, metrics and its OpenAPI document. */
export async function startService<S extends KernelTables>(
  service: Service<S>,
  deps: ServiceDeps<S>,
  listen: { hostname: string; port: number },
): Promise<RunningService> {
  const { log, metrics } = deps;
  const kernel = deps.db as unknown as Kysely<KernelTables>;
  await migrate(deps.migrationDb ?? deps.db, service.name, service.migrations);
  await deps.migrationDb?.destroy();

  const relay = startOutboxRelay({ db: kernel, bus: deps.bus, log, metrics });
  // First, or `/{userId}` of profiles would take `/dead-letters` for an id.
  const routes = [...deadLetterRoutes<S>(deps.bus), ...service.routes];
  const app = createApp<S>({
    ...deps,
    service: service.name,
    basePath: service.basePath,
    routes,
    nudge: relay.nudge,
  });
  let draining = false;
  addOperatorRoutes(app, service, deps, {
    draining: () => draining,
    describe: () => describeRoutes(service.name, service.basePath, routes),
  });
  service.extendHttp?.(app);
  await service.start?.(relay);

  const consumers: Subscription[] = [];
  for (const consumer of service.consumers ?? []) {
    consumers.push(
      await startConsumer({ ...consumer, db: deps.db, bus: deps.bus, log, metrics, nudge: relay.nudge }),
    );
  }
  const jobs = startJobs(
    [
      ...(service.jobs ?? []),
      { name: 'sweep-kernel-tables', everyMs: 600_000, run: () => sweepKernelTables(kernel) },
    ],
    log,
  );
  const server = await (service.listen ?? serve)({ ...listen, fetch: (request) => app.fetch(request) });
  log.info({ port: server.port }, 'service is up');

  return {
    name: service.name,
    port: server.port,
    announceStop() {
      draining = true;
    },
    async stop(graceMs = 10_000) {
      draining = true;
      await server.stop(graceMs);
      // A handler that needs longer is cut off with its message unacknowledged: it is delivered again.
      const drained = Promise.all([...consumers.map((consumer) => consumer.stop()), jobs.stop()]);
      await withDeadline(drained, graceMs, () => {});
      await service.stop?.();
      await relay.stop();
      log.info({}, 'service has stopped');
    },
  };
}

function addOperatorRoutes<S extends KernelTables>(
  app: Hono,
  service: Service<S>,
  deps: ServiceDeps<S>,
  { draining, describe }: { draining: () => boolean; describe: () => unknown },
): void {
  app.get('/healthz', (c) => c.json({ status: 'ok', service: service.name }));
  app.get('/readyz', async (c) => {
    if (draining()) return c.json({ ready: false, draining: true, dependencies: {} }, 503);
    const state = await checkReadiness(service.readiness);
    return c.json(state, state.ready ? 200 : 503);
  });
  app.get('/metrics', async (c) =>
    c.body(await deps.metrics.registry.metrics(), 200, { 'content-type': deps.metrics.registry.contentType }),
  );
  // Made at the first request: it would be a good part of the start.
  let document: unknown;
  app.get('/openapi.json', (c) => {
    document ??= describe();
    return c.json(document);
  });
}

export interface ReadinessState {
  ready: boolean;
  dependencies: Record<string, { ok: boolean; detail?: string }>;
}

/** Asks each dependency, at most 2 s each, side by side. Details name the kind of failure only. */
export async function checkReadiness(checks: Record<string, () => Promise<void>>): Promise<ReadinessState> {
  const entries = await Promise.all(
    Object.entries(checks).map(async ([name, check]) => {
      try {
        await Promise.race([
          check(),
          new Promise((_, reject) => setTimeout(() => reject(new Error('no answer within 2 s')), 2_000)),
        ]);
        return [name, { ok: true }] as const;
      } catch (error) {
        const detail =
          error instanceof Error && /no answer/.test(error.message) ? error.message : 'not available';
        return [name, { ok: false, detail }] as const;
      }
    }),
  );
  return { ready: entries.every(([, state]) => state.ok), dependencies: Object.fromEntries(entries) };
}
