import { connect, createServer, type Server, type Socket } from 'node:net';
import { startGateway, type TestGateway } from '../../gateway/testing.ts';
import { type GatewayProcess, startGatewayProcess } from './gateway-process.ts';
import { type RequestMessage, type ResponseMessage, readRequest, readResponse } from './messages.ts';

/** Both ends of the gateway as raw sockets: what it is sent and what it sends are bytes that the test sees. */

export const HOST = 'Host: school.example\r\n';
export const AUTH = 'Authorization: Bearer good\r\n';
/** A path whose body is read whole before the service hears of it, one that streams up, and one that streams down. */
export const JSON_PATH = '/api/chat/rooms';
export const UPLOAD_PATH = '/api/content/files';
export const DOWNLOAD_PATH = '/api/content/files/1/content';

/** No health checks: the only connections are those that the test's requests cause. */
export const QUIET = { UPSTREAM_CHECK_MS: '0' };

/** How a connection ended: by the other side's FIN, by a reset, or not yet. */
export type Ending = 'end' | 'reset' | undefined;

/** How long a test waits for what must come, in milliseconds: only a failure takes so long. */
const PATIENCE_MS = 10_000;

/** One side of a connection, with everything that it heard. */
class Peer {
  protected bytes: Buffer = Buffer.alloc(0);
  /** Of all that came, also what was read as messages. */
  heardBytes = 0;
  ending: Ending;
  private readonly listeners = new Set<() => void>();
  private drained: Promise<void> | undefined;
  /** Off for large streams, which are looked at as they come. */
  keeping = true;
  onChunk: ((chunk: Buffer) => void) | undefined;

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => this.hear(chunk));
    socket.on('end', () => {
      this.ending ??= 'end';
      this.wake();
    });
    socket.on('error', () => {
      this.ending = 'reset';
      this.wake();
    });
    socket.on('close', () => {
      this.ending ??= 'reset';
      this.wake();
    });
  }

  private hear(chunk: Buffer): void {
    this.heardBytes += chunk.byteLength;
    this.onChunk?.(chunk);
    if (this.keeping) this.bytes = this.bytes.byteLength === 0 ? chunk : Buffer.concat([this.bytes, chunk]);
    this.wake();
  }

  /** What came and was not yet read as a message. */
  get text(): string {
    return this.bytes.toString('latin1');
  }

  get rest(): Buffer {
    return this.bytes;
  }

  protected wake(): void {
    for (const listener of [...this.listeners]) listener();
  }

  /** Resolves with the first value of `look` that is not undefined; looked again whenever something happened. */
  wait<T>(what: string, look: () => T | undefined, ms = PATIENCE_MS): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        this.listeners.delete(listener);
        clearTimeout(timer);
        act();
      };
      const listener = (): void => {
        try {
          const found = look();
          if (found !== undefined) settle(() => resolve(found));
        } catch (error) {
          settle(() => reject(error));
        }
      };
      const timer = setTimeout(
        () => settle(() => reject(new Error(`${what}: not within ${ms} ms, heard ${this.described()}`))),
        ms,
      );
      this.listeners.add(listener);
      listener();
    });
  }

  protected described(): string {
    const { text } = this;
    return `${JSON.stringify(text.length > 600 ? `${text.slice(0, 600)}…` : text)}${this.ending ? `, then ${this.ending}` : ''}`;
  }

  /** How the other side ended it. */
  ended(ms?: number): Promise<'end' | 'reset'> {
    return this.wait('the end of the connection', () => this.ending, ms);
  }

  /** Resolves when what it heard has that text. */
  until(text: string, ms?: number): Promise<true> {
    return this.wait(JSON.stringify(text), () => (this.text.includes(text) ? true : undefined), ms);
  }

  /** Resolves when the kernel takes more. */
  send(bytes: string | Uint8Array): Promise<void> {
    const data = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
    if (this.socket.destroyed || this.socket.write(data)) return Promise.resolve();
    this.drained ??= new Promise<void>((resolve) => {
      const done = (): void => {
        this.drained = undefined;
        this.socket.off('drain', done);
        this.socket.off('close', done);
        resolve();
      };
      this.socket.on('drain', done);
      this.socket.on('close', done);
    });
    return this.drained;
  }

  /** No more from our side; we still read. */
  halfClose(): void {
    this.socket.end();
  }

  reset(): void {
    if (!this.socket.destroyed) this.socket.resetAndDestroy();
  }

  close(): void {
    this.socket.destroy();
  }
}

/** A client that says what the test wants. */
export class RawClient extends Peer {
  static async open(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const client = new RawClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', () => resolve());
      socket.once('error', reject);
    });
    socket.setNoDelay(true);
    return client;
  }

  /** The next reply, read strictly; `method` is that of its request. Rejects if the connection ends before it. */
  reply(method = 'GET', ms?: number): Promise<ResponseMessage> {
    return this.wait(
      'a reply',
      () => {
        const message = readResponse(this.bytes, method, this.ending === 'end');
        if (message) this.bytes = this.bytes.subarray(message.raw.byteLength);
        else if (this.ending) throw new Error(`no whole reply: ${this.described()}`);
        return message;
      },
      ms,
    );
  }

  /** Sends a request and gives back its reply. */
  async ask(request: string | Uint8Array, method?: string): Promise<ResponseMessage> {
    void this.send(request);
    return this.reply(method ?? /^[A-Z]+/.exec(Buffer.from(request).toString('latin1', 0, 20))?.[0]);
  }
}

/** One connection that the gateway made to the raw upstream. */
export class UpstreamPeer extends Peer {
  /** Requests that were read from it. */
  readonly requests: RequestMessage[] = [];

  constructor(
    socket: Socket,
    first: Buffer,
    private readonly onRequest: (request: RequestMessage) => void,
  ) {
    super(socket);
    this.bytes = first;
    this.heardBytes = first.byteLength;
  }

  /** The next request, read strictly; undefined if the connection ended between two. */
  request(ms?: number): Promise<RequestMessage | undefined> {
    return this.wait(
      'a request',
      () => {
        const message = readRequest(this.bytes);
        if (message) {
          this.bytes = this.bytes.subarray(message.raw.byteLength);
          this.requests.push(message);
          this.onRequest(message);
          return { message };
        }
        if (this.ending && this.bytes.byteLength > 0) throw new Error(`half a request: ${this.described()}`);
        return this.ending ? { message: undefined } : undefined;
      },
      ms,
    ).then(({ message }) => message);
  }

  /** The head of the next request, without waiting for its body. */
  async head(ms?: number): Promise<string> {
    await this.until('\r\n\r\n', ms);
    return this.text.slice(0, this.text.indexOf('\r\n\r\n') + 4);
  }
}

export interface RawUpstream {
  url: string;
  port: number;
  peers: UpstreamPeer[];
  /** Requests of all connections, in the order they were read. */
  requests: RequestMessage[];
  /** What a script threw: a request that was no HTTP, for example. */
  faults: string[];
  stop(): Promise<void>;
}

/**
 * A service made of bytes: `serve` has each connection that begins with a request. What the gateway asks on its own
 * account (health, OpenAPI) is answered besides and not recorded.
 */
export async function startRawUpstream(
  serve: (peer: UpstreamPeer, index: number) => Promise<unknown> | unknown,
  { port = 0, openApi }: { port?: number; openApi?: unknown } = {},
): Promise<RawUpstream> {
  const described = openApi === undefined ? '' : JSON.stringify(openApi);
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    socket.once('data', (first: Buffer) => {
      const [, page] = /^GET \/(openapi\.json|readyz) /.exec(first.toString('latin1', 0, 30)) ?? [];
      if (page !== undefined) {
        const body = page === 'readyz' ? '{"ready":true}' : described;
        const status = body === '' ? '404 Not Found' : '200 OK';
        return void socket.end(
          `HTTP/1.1 ${status}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
        );
      }
      const peer = new UpstreamPeer(socket, first, (request) => upstream.requests.push(request));
      const index = upstream.peers.push(peer) - 1;
      void Promise.resolve()
        .then(() => serve(peer, index))
        .catch((error) => upstream.faults.push(String(error)));
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const bound = (server.address() as { port: number }).port;
  const upstream: RawUpstream = {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    peers: [],
    requests: [],
    faults: [],
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return upstream;
}

/** A script that answers each request of a connection with bytes, and lets the connection live. */
export const answering =
  (
    reply: (
      request: RequestMessage,
      peer: UpstreamPeer,
    ) => string | Uint8Array | Promise<string | Uint8Array>,
  ) =>
  async (peer: UpstreamPeer): Promise<void> => {
    for (let request = await peer.request(NEVER_MS); request; request = await peer.request(NEVER_MS))
      await peer.send(await reply(request, peer));
    peer.halfClose();
  };

/** Longer than any test: the wait ends with the connection. */
const NEVER_MS = 600_000;

/** A whole reply of 200. */
export const ok = (body: string | Uint8Array = '{}', lines = ''): Buffer => {
  const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : body;
  const head = `HTTP/1.1 200 OK\r\n${lines}Content-Length: ${bytes.byteLength}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), bytes]);
};

export const get = (path: string, lines = ''): string => `GET ${path} HTTP/1.1\r\n${HOST}${AUTH}${lines}\r\n`;
export const post = (path: string, lines: string, body = ''): string =>
  `POST ${path} HTTP/1.1\r\n${HOST}${AUTH}${lines}\r\n${body}`;

/** Gateways, raw upstreams and clients that end with the test that started them: hand `stopAll` to `afterEach`. */
export function startedOnWire() {
  const stops: (() => Promise<unknown> | unknown)[] = [];
  return {
    async stopAll(): Promise<void> {
      for (const stop of stops.splice(0).reverse()) await stop();
    },
    async rawUpstream(...args: Parameters<typeof startRawUpstream>): Promise<RawUpstream> {
      const started = await startRawUpstream(...args);
      stops.push(started.stop);
      return started;
    },
    async gateway(options: Parameters<typeof startGateway>[0] = {}): Promise<TestGateway> {
      const started = await startGateway({ ...options, env: { ...QUIET, ...options.env } });
      stops.push(() => started.stop(200));
      return started;
    },
    /** In a process of its own. */
    async gatewayProcess(options: Parameters<typeof startGatewayProcess>[0]): Promise<GatewayProcess> {
      const started = await startGatewayProcess({ ...options, env: { ...QUIET, ...options.env } });
      stops.push(started.stop);
      return started;
    },
    async client(port: number): Promise<RawClient> {
      const opened = await RawClient.open(port);
      stops.push(() => opened.close());
      return opened;
    },
  };
}
