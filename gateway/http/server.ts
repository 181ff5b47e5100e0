import { Problem, type ProblemCode, problemBody } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { listenTcp, type TlsFiles, type Wire } from '../../shared/runtime/tcp.ts';
import type { Exchange } from '../exchange.ts';
import { defaultLines } from '../policy/security-headers.ts';
import { ClientConnection, type ClientDoor, type ClientTimings } from './client-connection.ts';
import { httpDate } from './date.ts';
import type { Deadlines } from './deadlines.ts';
import type { BadHead } from './head.ts';
import { Http2Connection, type Http2Door } from './http2.ts';
import { RequestHeads } from './known-heads.ts';

export interface HttpServerOptions {
  hostname: string;
  /** 0 picks a free port. */
  port: number;
  /** Lets several processes listen on one port (SO_REUSEPORT); the kernel spreads connections over them. */
  reusePort: boolean;
  tls?: TlsFiles;
  /** With TLS: HTTP/2 for who asks for it. */
  http2?: boolean;
  timings: ClientTimings;
  deadlines: Deadlines;
  onRequest(exchange: Exchange): void;
  onDone(exchange: Exchange, cutOff: boolean): void;
  /** A request that could not be read was refused. */
  onMalformed(error: BadHead): void;
}

export interface HttpServer {
  port: number;
  /** Open connections, with the idle ones; upgraded ones do not count. */
  readonly connections: number;
  /** For new connections. Throws, and leaves all as it is, if the two are of no use. */
  useTls(tls: TlsFiles): void;
  /** Takes no new connections, lets requests in hand finish for `graceMs`, then closes what is left. */
  stop(graceMs: number): Promise<void>;
}

/** Of the time a stopping server has, how long connections that were just in use are kept for one more request. */
const IDLE_SHARE = 1 / 8;

/** The gateway's server of HTTP/1.1 (RFC 9112), and of HTTP/2 if asked for. Throws with the reason when the address can't be had. */
export function listenHttp(options: HttpServerOptions): HttpServer {
  const open = new Set<ClientConnection>();
  const sessions = new Set<Http2Connection>();
  let onAllClosed: (() => void) | undefined;

  const door: ClientDoor & { stopping: boolean } = {
    timings: options.timings,
    deadlines: options.deadlines,
    heads: new RequestHeads(),
    stopping: false,
    onRequest: options.onRequest,
    onDone: options.onDone,
    onMalformed(error) {
      options.onMalformed(error);
      return malformedReply(error);
    },
    onClosed(connection) {
      open.delete(connection);
      if (open.size + sessions.size === 0) onAllClosed?.();
    },
  };
  const connect = (wire: Wire): ClientConnection => {
    const connection = new ClientConnection(wire, door);
    open.add(connection);
    return connection;
  };
  const http2Door: Http2Door = {
    deadlines: options.deadlines,
    keepAliveMs: options.timings.keepAliveMs,
    connect,
    onClosed(session) {
      sessions.delete(session);
      if (open.size + sessions.size === 0) onAllClosed?.();
    },
  };
  const listener = listenTcp({
    hostname: options.hostname,
    port: options.port,
    reusePort: options.reusePort,
    tls: options.tls,
    alternative: options.http2
      ? {
          protocol: 'h2',
          onChosen(wire) {
            (wire.owner as ClientConnection).leave();
            sessions.add(new Http2Connection(wire, http2Door));
          },
        }
      : undefined,
    onConnection: connect,
  });

  return {
    port: listener.port,
    useTls: listener.useTls,
    get connections() {
      return open.size;
    },
    async stop(graceMs) {
      door.stopping = true;
      listener.stop();
      for (const connection of open) connection.drain(graceMs * IDLE_SHARE);
      for (const session of sessions) session.drain();
      if (open.size + sessions.size === 0) return;
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        onAllClosed = resolve;
        timer = setTimeout(resolve, graceMs);
      });
      clearTimeout(timer);
      for (const connection of open) connection.destroy();
      for (const session of sessions) session.destroy();
    },
  };
}

const CODES: Record<BadHead['status'], ProblemCode> = {
  400: 'validation-failed',
  414: 'uri-too-long',
  417: 'expectation-failed',
  431: 'headers-too-large',
  501: 'not-implemented',
  505: 'http-version-not-supported',
};

/** What a client that speaks no proper HTTP gets, before its connection is closed. */
function malformedReply({ status, message }: BadHead): Buffer {
  const problem = new Problem(CODES[status], message);
  const requestId = newId();
  const body = JSON.stringify(problemBody(problem, requestId));
  return Buffer.from(
    `HTTP/1.1 ${status} ${problem.title}\r\ndate: ${httpDate()}\r\ncontent-type: application/problem+json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nx-request-id: ${requestId}\r\ncache-control: no-store\r\n` +
      `${defaultLines(0)}connection: close\r\n\r\n${body}`,
  );
}
