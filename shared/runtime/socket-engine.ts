import { randomBytes } from 'node:crypto';
import type { Server as BunServer, ServerWebSocket } from 'bun';

/**
 * Engine.IO, revision 4 of the protocol, over Bun's WebSockets and nothing else, as the lower half of a Socket.IO
 * server: https://socket.io/docs/v4/engine-io-protocol/. Made for many idle connections and for large rooms: a
 * connection is one small object without timers of its own, and a room is a topic of Bun's, so that one call reaches
 * all its sockets and what one socket is due in a turn of the loop leaves in one system call.
 */

export interface EngineOptions {
  maxFrameBytes: number;
  /** More bytes than this waiting for a client, and it is cut off. */
  maxBufferedBytes: number;
  pingIntervalMs: number;
  pingTimeoutMs: number;
}

/** Why a connection was closed, as its client reads it (RFC 6455, 7.4). */
export const CLOSE = {
  normal: 1000,
  /** The process stops: connect again. */
  serviceRestart: 1012,
  /** The client reads more slowly than it is sent to: connect again, and ask for what is missing. */
  slowConsumer: 4008,
} as const;

/** How often connections are looked at: for pings that are due and for clients that do not read. */
const SWEEP_MS = 500;
/** A client that was cut off has so long to read the reason. */
const READ_WHY_MS = 5_000;

/** What Bun's `send` returns when the frame waits in memory. */
const BACK_PRESSURE = -1;

type Listener = (value: never) => void;
type EngineEvent = 'data' | 'error' | 'close';

interface RequestFacts {
  url: string;
  headers: Record<string, string>;
  connection: { encrypted: boolean };
  _query: Record<string, string>;
}

/** One connection, with what Socket.IO's `Client` asks of one. */
export class EngineSocket {
  readonly id = randomBytes(15).toString('base64url');
  readyState: 'opening' | 'open' | 'closing' | 'closed' = 'opening';
  /** `performance.now()` of the next ping, or while one is unanswered the end of waiting for it. */
  #due = 0;
  #unanswered = false;
  #unsent: (string | Uint8Array)[] | undefined;
  #ws: ServerWebSocket<EngineSocket> | undefined;
  // Socket.IO has one listener of each.
  #onData: Listener | undefined;
  #onError: Listener | undefined;
  #onClose: Listener | undefined;

  constructor(
    private readonly engine: SocketEngine,
    private readonly client: ClientFacts,
  ) {}

  /** As much of a request as Socket.IO and we ask for, made when asked for. */
  get request(): RequestFacts {
    const { forwarded, agent } = this.client;
    const headers = { ...(forwarded ? { 'x-forwarded-for': forwarded } : {}), 'user-agent': agent };
    return { url: '/socket.io/', headers, connection: { encrypted: false }, _query: {} };
  }

  get protocol(): number {
    return 4;
  }
  get remoteAddress(): string {
    return this.#ws?.remoteAddress ?? '';
  }
  /** Socket.IO asks its transport whether a volatile packet may go. */
  get transport(): this {
    return this;
  }
  get writable(): boolean {
    return (this.#ws?.getBufferedAmount() ?? 1) === 0;
  }

  on(event: EngineEvent, listener: Listener): this {
    if (event === 'data') this.#onData = listener;
    else if (event === 'error') this.#onError = listener;
    else this.#onClose = listener;
    return this;
  }

  removeListener(event: EngineEvent, listener: Listener): this {
    if (event === 'data' && this.#onData === listener) this.#onData = undefined;
    else if (event === 'error' && this.#onError === listener) this.#onError = undefined;
    else if (event === 'close' && this.#onClose === listener) this.#onClose = undefined;
    return this;
  }

  /** Sends a packet of Socket.IO's: text, or the binary attachment of the one before. */
  write(packet: string | Uint8Array): this {
    if (this.readyState !== 'open') return this;
    const frame = typeof packet === 'string' ? `4${packet}` : packet;
    if (this.#unsent) this.#unsent.push(frame);
    else {
      this.#unsent = [frame];
      this.engine.flushSoon(this);
    }
    return this;
  }

  /** What was written in this turn leaves in one system call, after what the socket's topics had for it. */
  flush(): void {
    const frames = this.#unsent;
    if (!frames) return;
    this.#unsent = undefined;
    if (this.readyState !== 'open') return;
    const ws = this.#ws!;
    if (frames.length > 1) {
      ws.cork(() => {
        for (const frame of frames) ws.send(frame);
      });
      this.cutOffIfSlow();
    } else if (ws.send(frames[0]!) === BACK_PRESSURE) this.cutOffIfSlow();
  }

  /** Closes after what has been written. */
  close(code: number = CLOSE.normal, reason = ''): void {
    if (this.readyState !== 'open') return;
    this.flush();
    this.readyState = 'closing';
    this.#ws!.close(code, reason);
  }

  subscribe(topic: string): void {
    if (this.readyState === 'open') this.#ws!.subscribe(topic);
  }

  unsubscribe(topic: string): void {
    if (this.readyState === 'open') this.#ws!.unsubscribe(topic);
  }

  opened(ws: ServerWebSocket<EngineSocket>): void {
    this.#ws = ws;
    this.readyState = 'open';
    const { pingIntervalMs: pingInterval, pingTimeoutMs: pingTimeout, maxFrameBytes } = this.engine.options;
    this.#due = performance.now() + pingInterval;
    const handshake = { sid: this.id, upgrades: [], pingInterval, pingTimeout, maxPayload: maxFrameBytes };
    ws.send(`0${JSON.stringify(handshake)}`);
  }

  received(frame: string | Buffer): void {
    if (this.readyState !== 'open') return;
    if (typeof frame !== 'string') return void this.#onData?.(frame as never);
    switch (frame.charCodeAt(0)) {
      case 0x34: // 4, message
        return void this.#onData?.(frame.slice(1) as never);
      case 0x33: // 3, pong
        this.#unanswered = false;
        this.#due = performance.now() + this.engine.options.pingIntervalMs;
        return;
      case 0x31: // 1, close
        return this.close();
      default:
        return this.fail('parse error', 1002);
    }
  }

  /** Ends the connection for a fault of the client's. */
  fail(reason: string, code: number): void {
    if (this.readyState === 'closed') return;
    const ws = this.#ws;
    const isOpen = this.readyState === 'open';
    if (isOpen) this.flush();
    // First: Bun tells of the end at once, and without our reason.
    this.closed(reason);
    if (isOpen) ws!.close(code, reason);
    // Its close frame waits behind what the client does not read.
    if (ws && ws.getBufferedAmount() > 0) setTimeout(() => ws.terminate(), READ_WHY_MS).unref?.();
  }

  closed(reason: string): void {
    if (this.readyState === 'closed') return;
    this.readyState = 'closed';
    this.engine.connections.delete(this);
    this.#onClose?.(reason as never);
  }

  /** Cuts off a client that does not read what it is sent. */
  cutOffIfSlow(): void {
    if (this.readyState !== 'open') return;
    if (this.#ws!.getBufferedAmount() > this.engine.options.maxBufferedBytes)
      this.fail('slow consumer', CLOSE.slowConsumer);
  }

  /** Pings when it is time to. */
  ping(now: number): void {
    if (this.readyState !== 'open' || now < this.#due) return;
    if (this.#unanswered) return this.fail('ping timeout', CLOSE.normal);
    this.#unanswered = true;
    this.#due = now + this.engine.options.pingTimeoutMs;
    this.#ws!.send('2');
  }
}

/** What `io.bind` takes. */
export class SocketEngine {
  readonly connections = new Set<EngineSocket>();
  #unflushed: EngineSocket[] = [];
  /** Bytes to topics since the last look for clients that do not read. */
  #published = 0;
  #onConnection: (socket: EngineSocket) => void = () => {};
  readonly #sweeping: ReturnType<typeof setInterval>;

  constructor(readonly options: EngineOptions) {
    this.#sweeping = setInterval(() => {
      const now = performance.now();
      for (const connection of this.connections) connection.ping(now);
      this.#cutOffSlow();
    }, SWEEP_MS);
    this.#sweeping.unref?.();
  }

  on(_event: 'connection', listener: (socket: EngineSocket) => void): this {
    this.#onConnection = listener;
    return this;
  }

  /** Answers a handshake; nothing when the connection is upgraded. */
  upgrade(request: Request, url: URL, server: BunServer<EngineSocket>): Response | undefined {
    if (url.searchParams.get('EIO') !== '4') return refusal(5, 'Unsupported protocol version');
    if (url.searchParams.has('sid')) return refusal(1, 'Session ID unknown');
    const socket = new EngineSocket(this, clientFacts(request));
    return server.upgrade(request, { data: socket }) ? undefined : refusal(3, 'Bad request');
  }

  /** Bun's handlers for the WebSockets of this engine. */
  readonly websocket = {
    open: (ws: ServerWebSocket<EngineSocket>): void => {
      const socket = ws.data;
      this.connections.add(socket);
      socket.opened(ws);
      this.#onConnection(socket);
    },
    message: (ws: ServerWebSocket<EngineSocket>, frame: string | Buffer): void => ws.data.received(frame),
    close: (ws: ServerWebSocket<EngineSocket>): void => ws.data.closed('transport close'),
  };

  /** Told of every frame to a topic: nobody's buffer grows far past the limit between two looks. */
  published(bytes: number): void {
    this.#published += bytes;
    if (this.#published > 2 * this.options.maxBufferedBytes) this.#cutOffSlow();
  }

  #cutOffSlow(): void {
    this.#published = 0;
    for (const connection of this.connections) connection.cutOffIfSlow();
  }

  flushSoon(socket: EngineSocket): void {
    if (this.#unflushed.length === 0) process.nextTick(() => this.flush());
    this.#unflushed.push(socket);
  }

  /** What was written to sockets leaves now: before something that must come after it. */
  flush(): void {
    const sockets = this.#unflushed;
    if (sockets.length === 0) return;
    this.#unflushed = [];
    for (const socket of sockets) socket.flush();
  }

  close(): void {
    clearInterval(this.#sweeping);
    for (const connection of this.connections) connection.close(CLOSE.serviceRestart, 'restarting');
  }
}

/** An error of the handshake, as Engine.IO's servers word it. */
const refusal = (code: number, message: string): Response =>
  Response.json({ code, message }, { status: 400 });

/** What is kept of a client's request for as long as its connection lasts. */
interface ClientFacts {
  forwarded: string;
  agent: string;
}

const MOST_KNOWN = 1_000;
const known = new Map<string, ClientFacts>();

/** Many clients come from few addresses with few user agents: each pair is kept once. */
function clientFacts(request: Request): ClientFacts {
  const forwarded = request.headers.get('x-forwarded-for') ?? '';
  const agent = (request.headers.get('user-agent') ?? '').slice(0, 300);
  const key = `${forwarded} ${agent}`;
  let facts = known.get(key);
  if (!facts) {
    if (known.size >= MOST_KNOWN) known.clear();
    facts = { forwarded, agent };
    known.set(key, facts);
  }
  return facts;
}
