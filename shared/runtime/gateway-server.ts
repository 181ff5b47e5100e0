import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/**
 * The HTTP server under the gateway. It is `node:http` as Bun implements it, not `Bun.serve`, because a gateway needs
 * what `Bun.serve` 1.4.5 takes away (measured; see gateway/README.md): Content-Length on streamed replies
 * (oven-sh/bun#10507), the request target and header lines as they came, streams that outlive `idleTimeout`, and the
 * raw socket of an upgrade, whose back-pressure is the kernel's.
 */
export interface GatewayServerOptions {
  hostname: string;
  /** 0 picks a free port. */
  port: number;
  /** Lets several processes listen on one port (SO_REUSEPORT); the kernel spreads connections over them. */
  reusePort?: boolean;
  /** Milliseconds an unused connection stays open. */
  keepAliveMs: number;
  onRequest: (request: IncomingMessage, response: ServerResponse) => void;
  /** `socket` is the client's connection; `head` are bytes that came with the request. */
  onUpgrade: (request: IncomingMessage, socket: Socket, head: Buffer) => void;
  /** A request that could not be parsed: the complete reply to write before the connection is closed. */
  malformedReply: (code: string) => string;
}

export interface GatewayServer {
  port: number;
  /** Takes no new connections, lets requests in hand finish for `graceMs`, then closes what is left. */
  stop(graceMs: number): Promise<void>;
}

/** Listens. Rejects with the reason when the address can't be had. */
export async function listenGateway(options: GatewayServerOptions): Promise<GatewayServer> {
  const server = createServer({ keepAliveTimeout: options.keepAliveMs, requestTimeout: 0 });
  const open = new Set<Socket>();
  let stopping = false;
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    // While draining, each reply is the last on its connection (RFC 9112, 9.6).
    if (stopping) response.shouldKeepAlive = false;
    options.onRequest(request, response);
  };
  server.on('request', onRequest);
  // The policy decides before the client is told to send its body (RFC 9110, 10.1.1); the proxy says "continue".
  server.on('checkContinue', onRequest);
  server.on('checkExpectation', onRequest);
  server.on('upgrade', (request, socket, head) => options.onUpgrade(request, socket as Socket, head));
  server.on('connect', (_, socket) =>
    socket.end('HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\n\r\n'),
  );
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
    socket.end(options.malformedReply(error.code ?? ''));
  });
  await listen(server, options);

  return {
    port: (server.address() as AddressInfo).port,
    async stop(graceMs) {
      stopping = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // A connection whose last request was under way becomes idle later.
      const sweep = setInterval(() => server.closeIdleConnections(), 50);
      server.closeIdleConnections();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(() => {
          server.closeAllConnections();
          for (const socket of open) socket.destroy();
          resolve();
        }, graceMs);
      });
      await Promise.race([closed, late]);
      clearTimeout(timer);
      clearInterval(sweep);
    },
  };
}

function listen(server: Server, { hostname, port, reusePort }: GatewayServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const start = () => server.listen({ host: hostname, port }, () => resolve());
    if (reusePort) withReusePort(start);
    else start();
  });
}

/** Bun's node:http ignores `reusePort` but listens through `Bun.serve`, which has it: pass it on while `start` runs. */
function withReusePort(start: () => void): void {
  const runtime = Bun as unknown as { serve: (options: object) => unknown };
  const serve = runtime.serve;
  try {
    runtime.serve = (options) => serve({ ...options, reusePort: true });
    start();
  } finally {
    runtime.serve = serve;
  }
}
