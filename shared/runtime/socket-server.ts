import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { Server } from 'socket.io';
import { Problem, problemResponse } from '../errors.ts';
import { newId } from '../ids.ts';
import { type FetchHandler, type HttpServer, type ServeOptions, withDeadline } from './serve.ts';

/** One port for HTTP and Socket.IO (WebSocket transport only), on whichever runtime this is. */

export interface SocketLimits {
  /** The largest frame a client may send, in bytes; a larger one closes its connection (RFC 6455, code 1009). */
  maxFrameBytes: number;
  /** A client that reads so slowly that this many bytes wait for it is cut off. */
  maxBufferedBytes: number;
  pingIntervalMs: number;
  pingTimeoutMs: number;
}

export const SOCKET_LIMITS: SocketLimits = {
  maxFrameBytes: 256 * 1024,
  maxBufferedBytes: 4 * 1024 * 1024,
  pingIntervalMs: 25_000,
  pingTimeoutMs: 20_000,
};

export interface SocketHost {
  io: Server;
  listen(options: ServeOptions): Promise<HttpServer>;
}

const PATH = '/socket.io/';
/** How long a connection may stay without having joined a namespace, in milliseconds. */
const CONNECT_TIMEOUT_MS = 10_000;
const SLOW_CHECK_MS = 500;

/** A Socket.IO server that waits for `listen`. On Bun it runs on its own engine, on Deno on Socket.IO's. */
export async function createSocketHost(limits: SocketLimits = SOCKET_LIMITS): Promise<SocketHost> {
  return 'Deno' in globalThis ? hostOnNodeHttp(limits) : hostOnBun(limits);
}

/** What cuts off slow clients needs to know of a connection, whichever engine it belongs to. */
interface Connection {
  transport?: {
    socket?: { getBufferedAmount?(): number; bufferedAmount?: number; terminate(): void };
  };
  writeBuffer?: { data?: unknown }[];
}

async function hostOnBun(limits: SocketLimits): Promise<SocketHost> {
  // Loaded here only: its import paths have no extensions, which Deno does not resolve.
  const { Server: BunEngine } = await import('@socket.io/bun-engine');
  const engine = new BunEngine({
    path: PATH,
    pingInterval: limits.pingIntervalMs,
    pingTimeout: limits.pingTimeoutMs,
    maxHttpBufferSize: limits.maxFrameBytes,
  });
  const io = new Server({ connectTimeout: CONNECT_TIMEOUT_MS, serveClient: false });
  io.bind(engine);
  // Not in the engine's types: the map of its open connections.
  const connections = (engine as unknown as { clients: Map<string, Connection> }).clients;
  // The handlers only: the engine's `fetch` would limit the bodies of every other route too.
  const { open, message, close } = engine.handler().websocket;

  return {
    io,
    async listen({ hostname, port, fetch }) {
      const server = Bun.serve({
        hostname,
        port,
        maxRequestBodySize: Number.MAX_SAFE_INTEGER,
        idleTimeout: 255,
        fetch(request, self) {
          const url = new URL(request.url);
          if (!isSocketPath(url.pathname)) return fetch(request);
          if (!isWebSocket(request, url)) return refusePolling();
          // An upgraded request has no response; the engine's type does not say so.
          return engine.handleRequest(request, self as never);
        },
        websocket: {
          open,
          message,
          close,
          maxPayloadLength: limits.maxFrameBytes,
          // Longer than a ping and its time-out, or Bun would close what the engine still watches.
          idleTimeout: Math.min(960, Math.ceil((limits.pingIntervalMs + limits.pingTimeoutMs) / 1000) + 15),
          // The engine ignores what `send` returns: past this limit Bun would drop frames in silence.
          backpressureLimit: limits.maxBufferedBytes,
          closeOnBackpressureLimit: true,
        },
      });
      const watch = cutOffSlow(() => connections.values(), limits);
      return {
        port: server.port ?? port,
        async stop(graceMs) {
          clearInterval(watch);
          await withDeadline(io.close(), Math.min(graceMs, 2_000), () => {});
          await withDeadline(server.stop(), graceMs, () => server.stop(true));
        },
      };
    },
  };
}

function hostOnNodeHttp(limits: SocketLimits): SocketHost {
  const io = new Server({ connectTimeout: CONNECT_TIMEOUT_MS, serveClient: false });

  return {
    io,
    async listen({ hostname, port, fetch }) {
      const server = createServer();
      io.attach(server, {
        path: PATH,
        transports: ['websocket'],
        pingInterval: limits.pingIntervalMs,
        pingTimeout: limits.pingTimeoutMs,
        maxHttpBufferSize: limits.maxFrameBytes,
        perMessageDeflate: false,
        destroyUpgrade: true,
      });
      // The engine keeps the upgrades; plain requests, polling among them, are ours.
      const guarded: FetchHandler = (request) =>
        isSocketPath(new URL(request.url).pathname) ? refusePolling() : fetch(request);
      server.removeAllListeners('request');
      server.on('request', getRequestListener(guarded, { overrideGlobalObjects: false }));
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, hostname, resolve);
      });
      const connections = io.engine as unknown as { clients: Record<string, Connection> };
      const watch = cutOffSlow(() => Object.values(connections.clients), limits);
      return {
        port: (server.address() as AddressInfo).port,
        async stop(graceMs) {
          clearInterval(watch);
          const closed = new Promise<void>((resolve) => server.close(() => resolve()));
          await withDeadline(io.close(), Math.min(graceMs, 2_000), () => {});
          server.closeIdleConnections();
          await withDeadline(closed, graceMs, () => server.closeAllConnections());
        },
      };
    },
  };
}

/** Ends connections whose client does not read: what waits for it must not fill our memory. */
function cutOffSlow(
  connections: () => Iterable<Connection>,
  limits: SocketLimits,
): ReturnType<typeof setInterval> {
  const check = () => {
    for (const connection of connections()) {
      const socket = connection.transport?.socket;
      if (!socket) continue;
      let waiting = socket.getBufferedAmount?.() ?? socket.bufferedAmount ?? 0;
      for (const packet of connection.writeBuffer ?? []) waiting += sizeOf(packet.data);
      if (waiting > limits.maxBufferedBytes) socket.terminate();
    }
  };
  const timer = setInterval(check, SLOW_CHECK_MS);
  timer.unref?.();
  return timer;
}

const sizeOf = (data: unknown): number =>
  typeof data === 'string' ? data.length : data instanceof Uint8Array ? data.byteLength : 0;

const isSocketPath = (path: string): boolean => path === PATH || path === PATH.slice(0, -1);

const isWebSocket = (request: Request, url: URL): boolean =>
  request.headers.get('upgrade')?.toLowerCase() === 'websocket' &&
  url.searchParams.get('transport') === 'websocket';

const refusePolling = (): Response =>
  problemResponse(
    new Problem(
      'validation-failed',
      'Socket.IO is served over WebSocket only: set transports: ["websocket"].',
    ),
    newId(),
  );
