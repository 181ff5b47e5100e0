import { Problem, unavailable } from '../shared/errors.ts';
import type { Log } from '../shared/observability/log.ts';
import type { GatewayConfig } from './config.ts';
import type { Exchange } from './exchange.ts';
import type { Deadlines } from './http/deadlines.ts';
import type { GatewayMetrics } from './metrics.ts';
import type { Admission } from './policy/admission.ts';
import { limitKeyOf } from './policy/client-address.ts';
import { dialWebSocket } from './proxy/dial.ts';
import { CLOSE } from './proxy/frames.ts';
import type { HttpPool } from './proxy/http.ts';
import { RelayedSocket } from './proxy/websocket.ts';
import { RATE_CLASSES } from './routes.ts';

export const SOCKET_PATH = '/socket.io/';
/** Of the time a stopping gateway has, the share over which it closes its sockets: clients come back spread out. */
const CLOSING_SHARE = 0.6;
const LONGEST_CLOSING_MS = 10_000;

export interface SocketDoor {
  /** Takes the exchange over if it asks for another protocol. */
  upgrade(exchange: Exchange): void | Promise<void>;
  /** Closes every socket there is, spread over `spreadMs`: not all of them come back at once. */
  closeAll(code: number, reason: string, spreadMs: number): void;
  /** Closes every socket with 1001, spread over a part of `graceMs`, and drops after `graceMs` what is left. */
  stop(graceMs: number): Promise<void>;
}

interface SocketDoorOptions {
  pool: HttpPool;
  origins: ReadonlySet<string>;
  admission: Admission;
  config: GatewayConfig;
  deadlines: Deadlines;
  metrics: GatewayMetrics;
  log: Log;
}

/**
 * The door for WebSockets: the policies that apply to a handshake, then the relay to chat. The token is in the first
 * Socket.IO packet, not in the handshake, so chat checks it. The upstream is dialled before the client is told yes.
 */
export function createSocketDoor(options: SocketDoorOptions): SocketDoor {
  const { pool, origins, admission, config, deadlines, metrics, log } = options;
  const { timings } = config;
  const open = new Set<RelayedSocket>();
  const perAddress = new Map<string, number>();
  let stopping = false;
  let onAllClosed: (() => void) | undefined;

  async function relay(exchange: Exchange): Promise<void> {
    exchange.route = 'socket';
    checkHandshake(exchange);
    const origin = exchange.header('origin');
    if (origin !== undefined && !origins.has(origin))
      throw new Problem('forbidden', 'This origin may not open sockets.');
    // Most clients send their token in the first packet, to chat; one that sends it here is held to it.
    await admission.authenticate(exchange);
    if (stopping) throw unavailable('The gateway');
    await admission.take(exchange, RATE_CLASSES.socket);
    const key = limitKeyOf(exchange.address);
    if ((perAddress.get(key) ?? 0) >= config.socketsPerAddress)
      throw new Problem('rate-limited', 'Too many open sockets from this address.', { retryAfter: 30 });
    count(key, 1);
    let relayed = false;
    try {
      relayed = await connect(exchange, key);
    } finally {
      if (!relayed) count(key, -1);
    }
  }

  async function connect(exchange: Exchange, key: string): Promise<boolean> {
    const dialled = await dialWebSocket(
      exchange,
      pool,
      config.forwardingHeaders,
      timings.connectMs + timings.firstByteMs,
    );
    if (exchange.gone) {
      dialled.wire.destroy();
      dialled.replica.release();
      return false;
    }
    exchange.switchProtocols('websocket', dialled.lines);
    const { wire, rest } = exchange.detach();
    const socket = new RelayedSocket(wire, dialled.wire, {
      deadlines,
      stallMs: timings.stallMs,
      metrics,
      onClosed() {
        open.delete(socket);
        count(key, -1);
        dialled.replica.release();
        if (open.size === 0) onAllClosed?.();
      },
    });
    open.add(socket);
    socket.begin(rest, dialled.rest);
    if (stopping) socket.close(CLOSE.goingAway, GOING_AWAY);
    return true;
  }

  function count(key: string, by: number): void {
    const now = (perAddress.get(key) ?? 0) + by;
    if (now > 0) perAddress.set(key, now);
    else perAddress.delete(key);
  }

  function closeSpread(code: number, reason: string, spreadMs: number): ReturnType<typeof setTimeout>[] {
    const sockets = [...open];
    if (sockets.length > 0) log.info({ sockets: sockets.length, code, spreadMs }, 'closing sockets');
    return sockets.map((socket, index) =>
      setTimeout(() => socket.close(code, reason), (spreadMs * index) / sockets.length),
    );
  }

  return {
    upgrade(exchange) {
      if (exchange.head.upgrade === '') return;
      if (exchange.head.upgrade !== 'websocket') {
        // A server may ignore what it does not speak (RFC 9110, 7.8); `h2c` is asked for by curl and Java.
        return;
      }
      exchange.handled = true;
      return relay(exchange);
    },
    closeAll: closeSpread,
    async stop(graceMs) {
      stopping = true;
      if (open.size === 0) return;
      const closingMs = Math.min(graceMs * CLOSING_SHARE, LONGEST_CLOSING_MS);
      const timers = closeSpread(CLOSE.goingAway, GOING_AWAY, closingMs);
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        onAllClosed = resolve;
        timer = setTimeout(resolve, graceMs);
      });
      clearTimeout(timer);
      for (const one of timers) clearTimeout(one);
      for (const socket of open) socket.destroy();
    },
  };
}

const GOING_AWAY = 'the gateway is stopping';

/** Polling would need every request of a session to reach the same chat process, so there is none. */
export const webSocketOnly = (): Problem =>
  new Problem('validation-failed', 'Sockets are WebSocket only: connect with transports: ["websocket"].');

const TRANSPORT = /[?&]transport=websocket(?:&|$)/;
const KEY = /^[A-Za-z0-9+/]{22}==$/;

function checkHandshake(exchange: Exchange): void {
  if (exchange.path !== SOCKET_PATH) throw new Problem('not-found', 'There are no sockets at this path.');
  if (!TRANSPORT.test(exchange.query)) throw webSocketOnly();
  const versions = linesOf(exchange, 'sec-websocket-version');
  const keys = linesOf(exchange, 'sec-websocket-key');
  if (versions.length === 1 && versions[0] !== '13') {
    // RFC 6455, 4.2.2, and RFC 9110, 15.5.22.
    throw new Problem('upgrade-required', 'Version 13 of WebSocket is spoken here.', {
      headers: { 'sec-websocket-version': '13', upgrade: 'websocket', connection: 'Upgrade' },
    });
  }
  if (exchange.method !== 'GET' || versions.length !== 1 || keys.length !== 1 || !KEY.test(keys[0]!))
    throw new Problem('validation-failed', 'The WebSocket handshake is not valid (RFC 6455, 4.1).');
}

const linesOf = ({ head }: Exchange, name: string): string[] =>
  head.headers.filter((_, index) => index % 2 === 1 && head.headers[index - 1] === name);
