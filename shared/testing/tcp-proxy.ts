import { connect, createServer, type Socket } from 'node:net';

export interface TcpProxy {
  /** The upstream's address with the proxy's host and port in it. */
  url: string;
  /** Breaks every open connection; new ones are taken. */
  cut(): void;
  /** While on, bytes are swallowed both ways and nothing is closed. */
  freeze(on: boolean): void;
  /** While on, nothing is read any more, so that the kernels take what is sent and nobody answers; then all of it goes on. */
  stall(on: boolean): void;
  close(): void;
}

/** A way to a real server that a test can cut or freeze without touching what others do with that server. */
export async function tcpProxy(upstreamUrl: string): Promise<TcpProxy> {
  const url = new URL(upstreamUrl);
  const upstreamPort = Number(url.port);
  const upstreamHost = url.hostname;
  const sockets = new Set<Socket>();
  let frozen = false;
  let stalled = false;
  const server = createServer((client) => {
    const upstream = connect(upstreamPort, upstreamHost);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      if (stalled) from.pause();
      from.on('data', (data) => void (frozen || to.write(data)));
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as { port: number }).port);
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: url.href,
    cut,
    freeze: (on) => {
      frozen = on;
    },
    stall: (on) => {
      stalled = on;
      for (const socket of sockets) on ? socket.pause() : socket.resume();
    },
    close: () => {
      cut();
      server.close();
    },
  };
}
