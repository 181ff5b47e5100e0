import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Problem, problemBody, toProblem, unavailable } from '../shared/errors.ts';
import type { Log } from '../shared/observability/log.ts';
import type { GatewayTimings } from './config.ts';
import { Exchange } from './exchange.ts';
import type { GatewayMetrics } from './metrics.ts';
import type { createClientOrigin } from './policy/client-address.ts';
import { checkRequestHead } from './policy/host.ts';
import type { RateLimiter } from './policy/rate-limit.ts';
import { dialWebSocket } from './proxy/dial.ts';
import { CLOSE } from './proxy/frames.ts';
import type { UpstreamPool } from './proxy/upstreams.ts';
import { type RelayedSocket, relayWebSocket } from './proxy/websocket.ts';
import { RATE_CLASSES } from './routes.ts';

export const SOCKET_PATH = '/socket.io/';

export interface SocketDoor {
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void;
  /** Closes every socket with 1001 and drops after `graceMs` what is left. */
  stop(graceMs: number): Promise<void>;
}

interface SocketDoorOptions {
  pool: UpstreamPool;
  origins: ReadonlySet<string>;
  clientOrigin: ReturnType<typeof createClientOrigin>;
  limiter: RateLimiter;
  timings: GatewayTimings;
  metrics: GatewayMetrics;
  log: Log;
}

/**
 * The door for WebSockets: the policies that apply to a handshake, then the relay to chat. The token is in the first
 * Socket.IO packet, not in the handshake, so chat checks it. The upstream is dialled before the client is told yes.
 */
export function createSocketDoor(options: SocketDoorOptions): SocketDoor {
  const { pool, origins, clientOrigin, limiter, timings, metrics, log } = options;
  const open = new Set<RelayedSocket>();
  let stopping = false;

  async function relay(exchange: Exchange, client: Socket, head: Buffer, gone: AbortSignal): Promise<void> {
    checkRequestHead(exchange);
    checkHandshake(exchange);
    const { origin } = exchange.request.headers;
    if (origin !== undefined && !origins.has(origin))
      throw new Problem('forbidden', 'This origin may not open sockets.');
    if (stopping) throw unavailable('The gateway');
    await limiter.take(exchange, RATE_CLASSES.socket);

    const dialled = await dialWebSocket(exchange, pool, timings.connectMs + timings.firstByteMs, gone);
    if (client.destroyed) return void dialled.socket.destroy();
    if (dialled.status !== 101) {
      dialled.socket.on('error', () => {}).destroy();
      throw new Problem('bad-gateway', `The chat service refused the handshake (${dialled.status}).`);
    }
    client.setNoDelay(true);
    client.write(
      `HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nx-request-id: ${exchange.requestId}\r\n` +
        `${dialled.lines.map((line) => `${line}\r\n`).join('')}\r\n`,
    );
    const relayed = relayWebSocket(client, dialled.socket, timings, metrics);
    open.add(relayed);
    relayed.closed.then(() => open.delete(relayed));
    if (dialled.rest.byteLength > 0) dialled.socket.unshift(dialled.rest);
    if (head.byteLength > 0) client.unshift(head);
    dialled.socket.resume();
    client.resume();
    if (stopping) relayed.close(CLOSE.goingAway, 'the gateway is stopping');
  }

  return {
    upgrade(request, client, head) {
      // The response object is never used: an upgraded connection has none.
      const exchange = new Exchange(request, NO_RESPONSE, timings.lingerMs);
      Object.assign(exchange, clientOrigin(request));
      exchange.route = 'socket';
      const gone = new AbortController();
      const onGone = (): void => gone.abort();
      // Frames that come before the upstream has answered wait in the socket.
      client.pause();
      client.once('close', onGone);
      client.on('error', () => {});
      const record = (status: number): void => {
        client.off('close', onGone);
        const ms = Math.round((performance.now() - exchange.started) * 1e3) / 1e3;
        metrics.requests.observe({ method: 'GET', route: 'socket', status: String(status) }, ms / 1e3);
        const { path, address, requestId, traceId } = exchange;
        log.info(
          {
            method: 'GET',
            path: path.slice(0, 300),
            route: 'socket',
            status,
            ms,
            address,
            requestId,
            traceId,
          },
          'request',
        );
      };
      relay(exchange, client, head, gone.signal).then(
        () => record(101),
        (error) => {
          const problem = toProblem(error);
          if (problem.status >= 500)
            log.warn({ code: problem.code, reason: String(problem.cause ?? problem) }, 'socket refused');
          if (!client.destroyed) client.end(rawProblem(problem, exchange));
          record(problem.status);
        },
      );
    },
    async stop(graceMs) {
      stopping = true;
      for (const socket of open) socket.close(CLOSE.goingAway, 'the gateway is stopping');
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, graceMs);
      });
      await Promise.race([Promise.all([...open].map((socket) => socket.closed)), late]);
      clearTimeout(timer);
      for (const socket of open) socket.destroy();
    },
  };
}

const NO_RESPONSE = {} as ServerResponse;

/** Polling would need every request of a session to reach the same chat process, so there is none. */
export const webSocketOnly = (): Problem =>
  new Problem('validation-failed', 'Sockets are WebSocket only: connect with transports: ["websocket"].');

function checkHandshake(exchange: Exchange): void {
  const { headers } = exchange.request;
  if (headers.upgrade?.toLowerCase() !== 'websocket')
    throw new Problem('validation-failed', 'There is no other protocol here.');
  if (exchange.path !== SOCKET_PATH) throw new Problem('not-found', 'There are no sockets at this path.');
  if (new URLSearchParams(exchange.query).get('transport') !== 'websocket') throw webSocketOnly();
  if (
    headers['sec-websocket-version'] !== '13' ||
    !/^[A-Za-z0-9+/]{22}==$/.test(headers['sec-websocket-key'] ?? '')
  ) {
    throw new Problem('validation-failed', 'The WebSocket handshake is not valid (RFC 6455, 4.1).', {
      headers: { 'sec-websocket-version': '13' },
    });
  }
}

/** A problem written straight to a connection that has left HTTP. */
export function rawProblem(
  problem: Problem,
  exchange: { requestId: string; headers: ReadonlyMap<string, string> },
): string {
  const body = JSON.stringify(problemBody(problem, exchange.requestId));
  const headers = new Map<string, string>([
    ...exchange.headers,
    ['content-type', 'application/problem+json'],
    ['content-length', String(Buffer.byteLength(body))],
    ['connection', 'close'],
    ...(problem.retryAfter === undefined
      ? []
      : [['retry-after', String(Math.ceil(problem.retryAfter))] as [string, string]]),
    ...Object.entries(problem.headers),
  ]);
  const lines = [...headers].map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return `HTTP/1.1 ${problem.status} ${problem.title}\r\n${lines}\r\n${body}`;
}
