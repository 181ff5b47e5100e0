import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { openMemoryStore } from '../shared/adapters/ephemeral-store/memory.ts';
import type { Caller, TokenVerifier } from '../shared/auth/tokens.ts';
import { SERVICES } from '../shared/contracts/common.ts';
import { Problem } from '../shared/errors.ts';
import { type Log, silentLog } from '../shared/observability/log.ts';
import { createMetrics } from '../shared/observability/metrics.ts';
import type { EphemeralStore } from '../shared/ports/ephemeral-store.ts';
import { type GatewayConfig, type GatewayTimings, parseGatewayConfig } from './config.ts';
import { createGateway, type RunningGateway } from './gateway.ts';
import type { GatewayRoute } from './routes.ts';

/** For the gateway's tests: a gateway on free ports before upstreams that the test makes. */

export const LEARNER: Caller = {
  userId: '01890000-0000-7000-8000-000000000001',
  sessionId: '01890000-0000-7000-8000-000000000002',
  role: 'learner',
  name: 'Ada',
  expiresAt: Number.MAX_SAFE_INTEGER,
};
export const BEARER = { authorization: 'Bearer good' };

/** Knows the tokens `good` and `expired`. */
export const fakeTokens: TokenVerifier = {
  async verify(token) {
    if (token === 'good') return LEARNER;
    throw new Problem(token === 'expired' ? 'token-expired' : 'unauthenticated');
  },
  async fromHeader(header) {
    return header ? this.verify(header.replace(/^Bearer /, '')) : undefined;
  },
  known: (token) => (token === 'good' ? LEARNER : undefined),
  knownHeader: (header) => (header === 'Bearer good' ? LEARNER : undefined),
  async close() {},
};

/** An address where nothing listens. */
export const NOBODY = 'http://127.0.0.1:9';

export interface TestGateway extends RunningGateway {
  url: string;
  internalUrl: string;
}

export async function startGateway(
  options: {
    /** Base URL, or several with commas, of the service under test; every service not named is `NOBODY`. */
    upstreams?: Partial<Record<(typeof SERVICES)[number], string>>;
    env?: Record<string, string>;
    timings?: Partial<GatewayTimings>;
    ephemeral?: EphemeralStore;
    log?: Log;
    port?: number;
    reusePort?: boolean;
    routes?: readonly GatewayRoute[];
    /** Added to `env` each time that the configuration is read; a test may change it before it reloads. */
    changes?: Record<string, string>;
  } = {},
): Promise<TestGateway> {
  const readConfig = (): GatewayConfig => {
    const config = parseGatewayConfig({
      ...Object.fromEntries(
        SERVICES.map((name) => [`UPSTREAM_${name.toUpperCase()}`, options.upstreams?.[name] ?? NOBODY]),
      ),
      PORT: String(options.port ?? 0),
      INTERNAL_PORT: '0',
      PUBLIC_URL: 'http://school.example',
      LYCEUM_LIMIT_SCALE: '1000',
      ...options.env,
      ...options.changes,
    });
    return { ...config, timings: { ...config.timings, ...options.timings } };
  };
  const gateway = await createGateway({
    config: readConfig(),
    readConfig,
    ephemeral: options.ephemeral ?? openMemoryStore(),
    tokens: fakeTokens,
    log: options.log ?? silentLog,
    metrics: createMetrics('gateway'),
    reusePort: options.reusePort ?? false,
    ...(options.routes ? { routes: options.routes } : {}),
  });
  return {
    ...gateway,
    url: `http://127.0.0.1:${gateway.port}`,
    internalUrl: `http://127.0.0.1:${gateway.internalPort}`,
  };
}

export interface TestUpstream {
  url: string;
  port: number;
  server: Server;
  /** Requests seen, newest last. */
  requests: IncomingMessage[];
  stop(): Promise<void>;
}

/** A service that answers as the test says. What the gateway asks on its own account goes to `operator` and isn't counted. */
export async function startUpstream(
  listener: RequestListener,
  operator: RequestListener = (_, response) => response.writeHead(404).end(),
  port = 0,
): Promise<TestUpstream> {
  const requests: IncomingMessage[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/openapi.json' || request.url === '/readyz') return operator(request, response);
    requests.push(request);
    request.on('error', () => {});
    response.on('error', () => {});
    listener(request, response);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    server,
    requests,
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      for (const socket of sockets) socket.destroy();
      await Promise.race([closed, sleep(1_000)]);
    },
  };
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export { eventually } from '../shared/testing/eventually.ts';

/** Sends bytes as they are and gives back all that came until the connection closed or `ms` passed. */
export function sendRaw(
  port: number,
  bytes: string | Uint8Array,
  ms = 1_000,
): Promise<{ text: string; closed: boolean }> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const chunks: Uint8Array[] = [];
    const finish = (closed: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ text: Buffer.concat(chunks).toString('latin1'), closed });
    };
    const timer = setTimeout(() => finish(false), ms);
    socket.on('data', (chunk: Uint8Array) => chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => finish(true));
    socket.write(bytes);
  });
}

/** Upstreams and gateways that end with the test that started them: hand `stopAll` to `afterEach`. */
export function startedForOneTest() {
  const stops: (() => Promise<unknown>)[] = [];
  return {
    stops,
    async stopAll(): Promise<void> {
      for (const stop of stops.splice(0).reverse()) await stop();
    },
    async upstream(...args: Parameters<typeof startUpstream>) {
      const started = await startUpstream(...args);
      stops.push(started.stop);
      return started;
    },
    async gateway(...args: Parameters<typeof startGateway>) {
      const started = await startGateway(...args);
      stops.push(() => started.stop(200));
      return started;
    },
  };
}
