import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { Server } from 'socket.io';
import { Problem, problemResponse } from '../errors.ts';
import { newId } from '../ids.ts';
import { type FetchHandler, type HttpServer, type ServeOptions, withDeadline } from './serve.ts';
import { CLOSE, EngineSocket, SocketEngine } from './socket-engine.ts';

export { CLOSE } from './socket-engine.ts';

/** One port for HTTP and Socket.IO (WebSocket transport only), on whichever runtime this is. */

export interface SocketLimits {
  /** The largest frame a client may send, in bytes; a larger one closes its connection (RFC 6455, code 1009). */
  maxFrameBytes: number;
  /** A client that reads so slowly that this many bytes wait for it is cut off with code 4008. */
  maxBufferedBytes: number;
  pingIntervalMs: number;
  pingTimeoutMs: number;
}

export const SOCKET_LIMITS: SocketLimits = {
  maxFrameBytes: 256 * 1024,
  maxBufferedBytes: 1024 * 1024,
  pingIntervalMs: 25_000,
  pingTimeoutMs: 20_000,
};

export interface SocketHost {
  io: Server;
  /**
   * Sends encoded packets (`2["message",{…}]`) to this process's sockets of the main namespace in a Socket.IO room
   * whose name begins with `channelPrefix`: in order, each once, and far cheaper than `emit`.
   */
  broadcast(room: string, packets: string[]): void;
  /** `drain` runs when the server is asked to stop and takes no more connections, before it closes those it has. */
  listen(options: ServeOptions, drain?: (graceMs: number) => Promise<void>): Promise<HttpServer>;
}

const PATH = '/socket.io/';
/** How long a connection may stay without having joined a namespace, in milliseconds. */
const CONNECT_TIMEOUT_MS = 10_000;
const SLOW_CHECK_MS = 500;

/** A Socket.IO server that waits for `listen`. On Bun it runs on an engine of ours, on Deno on Socket.IO's. */
export const createSocketHost = (channelPrefix: string, limits: SocketLimits = SOCKET_LIMITS): SocketHost =>
  'Deno' in globalThis ? hostOnNodeHttp(limits) : hostOnBun(channelPrefix, limits);

/** Closes the connection under a Socket.IO socket, after what has been written to it; its client connects again. */
export function closeConnection(socket: { conn: unknown }, code: number, reason: string): void {
  const { conn } = socket;
  if (conn instanceof EngineSocket) conn.close(code, reason);
  else (conn as { close(): void }).close();
}

const NO_ACKS = new Map<never, never>();
const NO_HANDSHAKE = Object.freeze({ headers: {}, auth: {}, query: {} });

/**
 * Lets go of what Socket.IO keeps of each socket for uses that we do not make of it: the handshake once it has been
 * read, acknowledgements of events that the server sends, the room that every socket has for itself. For an idle
 * socket that is a good part of its memory.
 */
export function slimDown(socket: { id: string; leave(room: string): unknown }): void {
  Object.assign(socket, { handshake: NO_HANDSHAKE, acks: NO_ACKS });
  socket.leave(socket.id);
}

function hostOnBun(channelPrefix: string, limits: SocketLimits): SocketHost {
  const engine = new SocketEngine(limits);
  const io = new Server({ connectTimeout: CONNECT_TIMEOUT_MS, serveClient: false });
  io.bind(engine);
  let publish: (topic: string, frame: string) => void = () => {};

  /** A socket in a room of Socket.IO's is in the topic of the same name. */
  const followRooms = (): void => {
    const { adapter, sockets } = io.of('/');
    const engineSocket = (id: string) => sockets.get(id)?.conn as unknown as EngineSocket | undefined;
    adapter.on('join-room', (room: string, id: string) => {
      if (room.startsWith(channelPrefix)) engineSocket(id)?.subscribe(room);
    });
    adapter.on('leave-room', (room: string, id: string) => {
      if (room.startsWith(channelPrefix)) engineSocket(id)?.unsubscribe(room);
    });
  };

  return {
    io,
    broadcast(room, packets) {
      engine.flush();
      for (const packet of packets) {
        publish(room, `4${packet}`);
        engine.published(packet.length);
      }
    },
    async listen({ hostname, port, fetch }, drain) {
      followRooms();
      const server: Bun.Server<EngineSocket> = Bun.serve({
        hostname,
        port,
        maxRequestBodySize: Number.MAX_SAFE_INTEGER,
        idleTimeout: 255,
        fetch(request, self) {
          const url = new URL(request.url);
          if (!isSocketPath(url.pathname)) return fetch(request);
          if (!isWebSocket(request, url)) return refusePolling();
          return engine.upgrade(request, url, self);
        },
        websocket: {
          ...engine.websocket,
          maxPayloadLength: limits.maxFrameBytes,
          // Longer than a ping and its time-out, or Bun would close what the engine still watches.
          idleTimeout: Math.min(960, Math.ceil((limits.pingIntervalMs + limits.pingTimeoutMs) / 1000) + 15),
          sendPings: false,
          // The engine cuts off who reaches its limit, with a reason; who gets here between two looks is dropped.
          backpressureLimit: 4 * limits.maxBufferedBytes,
          closeOnBackpressureLimit: true,
        },
      });
      publish = (topic, frame) => server.publish(topic, frame);
      return {
        port: server.port ?? port,
        async stop(graceMs) {
          const deadline = performance.now() + graceMs;
          const stopped = server.stop();
          await drain?.(graceMs);
          await withDeadline(io.close(), Math.min(graceMs, 2_000), () => {});
          await withDeadline(stopped, Math.max(0, deadline - performance.now()), () => server.stop(true));
        },
      };
    },
  };
}

function hostOnNodeHttp(limits: SocketLimits): SocketHost {
  const io = new Server({ connectTimeout: CONNECT_TIMEOUT_MS, serveClient: false });

  return {
    io,
    broadcast(room, packets) {
      const { adapter, sockets } = io.of('/');
      for (const id of adapter.rooms.get(room) ?? []) {
        const conn = sockets.get(id)?.conn;
        for (const packet of packets) conn?.write(packet);
      }
    },
    async listen({ hostname, port, fetch }, drain) {
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
          const deadline = performance.now() + graceMs;
          const closed = new Promise<void>((resolve) => server.close(() => resolve()));
          await drain?.(graceMs);
          clearInterval(watch);
          await withDeadline(io.close(), Math.min(graceMs, 2_000), () => {});
          server.closeIdleConnections();
          await withDeadline(closed, Math.max(0, deadline - performance.now()), () =>
            server.closeAllConnections(),
          );
        },
      };
    },
  };
}

/** What cuts off slow clients needs to know of a connection of Socket.IO's own engine. */
interface Connection {
  transport?: { socket?: { bufferedAmount: number; close(code: number, reason: string): void } };
  writeBuffer?: { data?: unknown }[];
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
      let waiting = socket.bufferedAmount;
      for (const packet of connection.writeBuffer ?? []) waiting += sizeOf(packet.data);
      // The library drops who does not answer the close frame.
      if (waiting > limits.maxBufferedBytes) socket.close(CLOSE.slowConsumer, 'slow consumer');
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
