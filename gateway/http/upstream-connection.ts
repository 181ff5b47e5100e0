import { connectTcp, type OutgoingOwner, type Wire } from '../../shared/runtime/tcp.ts';
import {
  BadFraming,
  type BodyDecoder,
  type BodyEvents,
  chunkedDecoder,
  lengthDecoder,
  untilCloseDecoder,
} from './body-decoder.ts';
import type { Deadlines, Waiting } from './deadlines.ts';
import { BadHead, endOfHead, hasBareLineFeed, MAX_HEAD_BYTES, type ResponseHead } from './head.ts';
import type { HeaderList } from './headers.ts';
import { ResponseHeads } from './known-heads.ts';

/** How long an upstream may take for what, in milliseconds. */
export interface UpstreamTimings {
  /** To accept a connection. */
  connectMs: number;
  /** Between two pieces of a reply. */
  idleMs: number;
  /** It takes nothing of a request's body. */
  stallMs: number;
  /** An unused connection is kept. Less than services keep theirs, so that a request never meets one that is just closed. */
  keepAliveMs: number;
}

/** Why a call failed: decides whether it may be repeated and what it says about the replica. */
export type FailureKind = 'connect' | 'broken' | 'malformed' | 'timeout' | 'stalled';

export class UpstreamFailure extends Error {
  override readonly name = 'UpstreamFailure';
  constructor(
    readonly kind: FailureKind,
    message: string,
    /** Some of the request has left this process: a service may have acted on it. */
    readonly sent: boolean,
  ) {
    super(message);
  }
}

/** One request to an upstream, as its connection sees it. Called in this order; after `onFailure` nothing more. */
export interface UpstreamCall {
  /** GET and the like have replies with a body, HEAD has none. */
  readonly method: string;
  /** A connection is there: `send` now. */
  onConnection(connection: UpstreamConnection): void;
  /**
   * The head of the reply is late. Milliseconds to wait on, or 0 if there has been time enough; below 0 the call has
   * gone elsewhere.
   */
  onLate(): number;
  /** A reply before the reply. */
  onInformation(head: ResponseHead): void;
  onHead(head: ResponseHead): void;
  onReplyData(piece: Buffer): void;
  onReplyEnd(trailers: HeaderList): void;
  /** Everything that came at once has been passed on. */
  onTurn(): void;
  /** The upstream takes more of the body. */
  onUpstreamDrain(): void;
  onFailure(failure: UpstreamFailure): void;
}

/** One keep-alive connection to a replica: one call at a time, never pipelined. */
export class UpstreamConnection implements OutgoingOwner, BodyEvents, Waiting {
  private readonly wire: Wire;
  private call: UpstreamCall | undefined;
  private open = false;
  private held: Buffer | undefined;
  private decoder: BodyDecoder | undefined;
  private headSeen = false;
  private replyDone = false;
  private requestEnded = false;
  private reusable = true;
  private paused = false;
  private bytesSent = false;
  private chunkedRequest = false;
  private untilClose = false;
  /** When the state it is in has lasted too long; 0: it may last. */
  private deadline: number;
  private firstByteMs = 0;
  private patient = false;

  constructor(private readonly pool: ConnectionPool) {
    this.deadline = performance.now() + pool.timings.connectMs;
    this.wire = connectTcp(pool.address, this);
    pool.deadlines.watch(this);
  }

  onOpen(): void {
    this.open = true;
    // Who asked for it may be gone, and nobody else come.
    this.deadline = performance.now() + this.pool.timings.keepAliveMs;
    this.pool.connected(this);
  }

  /** Belongs to `call` from here on. */
  assign(call: UpstreamCall): void {
    this.call = call;
    this.deadline = 0;
    this.headSeen = false;
    this.replyDone = false;
    this.requestEnded = false;
    this.reusable = true;
    this.bytesSent = false;
    this.untilClose = false;
    this.patient = false;
    call.onConnection(this);
  }

  /** Sends the head and, if it is all here, the body. `body` undefined: `sendBody` and `endBody` follow. */
  send(head: string, body: Uint8Array | undefined, firstByteMs: number, chunked = false): void {
    this.firstByteMs = firstByteMs;
    this.chunkedRequest = chunked;
    this.bytesSent = true;
    this.wire.writeText(head, body === undefined || body.byteLength === 0 ? NO_PIECES : [body]);
    if (body === undefined) return;
    this.requestEnded = true;
    this.deadline = performance.now() + firstByteMs;
  }

  /** Takes the piece over. False: wait for `onUpstreamDrain`. */
  sendBody(piece: Uint8Array): boolean {
    if (piece.byteLength === 0) return true;
    if (!this.chunkedRequest) return this.wire.writeOwned(piece);
    return this.wire.writeText(`${piece.byteLength.toString(16)}\r\n`, [piece, CRLF]);
  }

  endBody(trailers: HeaderList): void {
    if (this.chunkedRequest) {
      let text = '0\r\n';
      for (let index = 0; index < trailers.length; index += 2)
        text += `${trailers[index]}: ${trailers[index + 1]}\r\n`;
      this.wire.write(Buffer.from(`${text}\r\n`, 'latin1'));
    }
    this.requestEnded = true;
    if (!this.headSeen) this.deadline = performance.now() + this.firstByteMs;
    else if (this.replyDone) this.release();
  }

  pause(): void {
    this.paused = true;
    this.deadline = 0;
    this.wire.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    if (!this.patient) this.deadline = performance.now() + this.pool.timings.idleMs;
    this.wire.resume();
  }

  /** A stream of events may be silent for as long as it likes. */
  bePatient(): void {
    this.patient = true;
    this.deadline = 0;
  }

  /** The call is given up: what it had begun is broken off. */
  abandon(): void {
    this.call = undefined;
    this.destroy();
  }

  destroy(): void {
    this.wire.destroy();
  }

  /** Leaves HTTP after 101: the bytes of both directions are the caller's. */
  detach(): { wire: Wire; rest: Buffer | undefined } {
    const rest = this.held;
    this.held = undefined;
    this.call = undefined;
    this.pool.deadlines.forget(this);
    this.pool.forget(this);
    return { wire: this.wire, rest };
  }

  onData(chunk: Buffer): void {
    const { call } = this;
    if (!call) return this.destroy(); // nobody asked: whatever it is, it is not an answer
    try {
      this.take(chunk);
    } catch (error) {
      if (!(error instanceof BadHead || error instanceof BadFraming)) throw error;
      return this.fail('malformed', error.message);
    }
    if (this.call !== call) return;
    call.onTurn();
    if (this.replyDone && this.requestEnded && this.call === call) this.release();
  }

  private take(chunk: Buffer): void {
    if (this.decoder) {
      if (!this.paused && !this.patient && !this.replyDone)
        this.deadline = performance.now() + this.pool.timings.idleMs;
      return this.takeBody(chunk);
    }
    let bytes = this.held === undefined ? chunk : Buffer.concat([this.held, chunk]);
    this.held = undefined;
    while (this.call && !this.headSeen) {
      const end = endOfHead(bytes, 0);
      if (end < 0 ? bytes.byteLength > MAX_HEAD_BYTES : end > MAX_HEAD_BYTES)
        throw new BadFraming('the head of the reply is too large');
      if (end < 0) {
        if (hasBareLineFeed(bytes, 0)) throw new BadFraming('a line of the head ends with a line feed alone');
        this.held = bytes;
        return;
      }
      const head = this.pool.heads.read(bytes, end);
      bytes = bytes.subarray(end);
      if (head.status >= 200) {
        this.beginReply(head);
      } else if (head.status === 101) {
        this.headSeen = true;
        this.held = bytes;
        this.deadline = 0;
        return this.call.onHead(head);
      } else {
        this.call.onInformation(head);
      }
    }
    if (this.call && bytes.byteLength > 0) this.takeBody(bytes);
  }

  private beginReply(head: ResponseHead): void {
    const call = this.call!;
    this.headSeen = true;
    this.reusable = head.keepAlive;
    this.deadline = performance.now() + this.pool.timings.idleMs;
    const { status } = head;
    if (call.method === 'HEAD' || status === 204 || status === 304) {
      this.decoder = undefined;
      call.onHead(head);
      this.endReply(NO_TRAILERS);
      return;
    }
    if (head.chunked) this.decoder = chunkedDecoder(this);
    else if (head.contentLength > 0) this.decoder = lengthDecoder(head.contentLength, this);
    else if (head.contentLength < 0) {
      this.decoder = untilCloseDecoder(this);
      this.untilClose = true;
      this.reusable = false;
    }
    // What becomes of the head is the call's business.
    const isEmpty = this.decoder === undefined;
    call.onHead(head);
    if (isEmpty) this.endReply(NO_TRAILERS);
  }

  private takeBody(bytes: Buffer): void {
    const taken = this.decoder?.push(bytes) ?? 0;
    // Bytes behind a reply belong to no request: the connection is of no more use, the reply is good.
    if (taken < bytes.byteLength) this.reusable = false;
  }

  onBodyData(piece: Buffer): void {
    this.call?.onReplyData(piece);
  }

  onBodyEnd(trailers: HeaderList): void {
    this.endReply(trailers);
  }

  private endReply(trailers: HeaderList): void {
    this.replyDone = true;
    this.decoder = undefined;
    this.deadline = 0;
    this.call?.onReplyEnd(trailers);
    // Answered before the body was sent: half-way through a request, a connection is of no more use.
    if (!this.requestEnded) this.reusable = false;
  }

  private release(): void {
    this.call = undefined;
    if (!this.reusable || this.wire.closed) return this.destroy();
    if (this.paused) {
      this.paused = false;
      this.wire.resume();
    }
    this.deadline = performance.now() + this.pool.timings.keepAliveMs;
    this.pool.released(this);
  }

  onDrain(): void {
    this.call?.onUpstreamDrain();
  }

  onEnd(): void {
    if (this.untilClose && this.call && !this.replyDone) {
      const { call } = this;
      this.endReply(NO_TRAILERS);
      call.onTurn();
      this.call = undefined;
    } else if (this.call && !this.replyDone) {
      return this.fail('broken', 'the connection ended before the reply did');
    }
    this.destroy();
  }

  onClose(error: Error | undefined): void {
    this.pool.deadlines.forget(this);
    this.pool.forget(this);
    if (!this.open) return this.pool.connectFailed(this, error?.message ?? 'no connection');
    if (this.call && !this.replyDone) this.fail('broken', error?.message ?? 'the connection broke');
  }

  tick(now: number): void {
    if (this.call && this.wire.pending > 0 && now - this.wire.progressAt > this.pool.timings.stallMs)
      return this.fail('stalled', 'the upstream takes nothing of the request');
    if (this.deadline === 0 || now < this.deadline) return;
    if (!this.open || !this.call) return this.destroy();
    if (!this.headSeen) {
      const more = this.call.onLate();
      if (more !== 0) {
        if (more > 0) this.deadline = now + more;
        return;
      }
    }
    this.fail('timeout', this.headSeen ? 'the reply stands still' : 'no answer in time');
  }

  private fail(kind: FailureKind, message: string): void {
    const { call } = this;
    this.call = undefined;
    this.decoder = undefined;
    this.destroy();
    call?.onFailure(new UpstreamFailure(kind, message, this.bytesSent));
  }
}

const NO_TRAILERS: HeaderList = [];
const CRLF = Buffer.from('\r\n');
const NO_PIECES: readonly Uint8Array[] = [];

/** Connections to a replica at which a call waits for one to come back rather than opens another. */
const ENOUGH_CONNECTIONS = 64;
/** How long it waits, in milliseconds: longer than a quick reply takes, shorter than anybody notices. */
const PATIENCE_MS = 5;

/**
 * The connections to one replica. The one used last is used first, so that the others may time out. With many calls
 * in flight a few busy connections serve more than a thousand idle ones: past `ENOUGH_CONNECTIONS` a call first waits
 * a moment for one to come back (measured: docs/performance.md).
 */
export class ConnectionPool {
  private readonly idle: UpstreamConnection[] = [];
  private readonly all = new Set<UpstreamConnection>();
  /** Connections under way, with the call each was opened for. */
  private readonly waiting: { call: UpstreamCall; since: number }[] = [];
  private connecting = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;

  constructor(
    readonly address: { hostname: string; port: number },
    readonly timings: UpstreamTimings,
    readonly deadlines: Deadlines,
    readonly heads = new ResponseHeads(),
  ) {}

  /** `call.onConnection` follows, at once if one is idle; or `call.onFailure` of kind `connect`. */
  acquire(call: UpstreamCall): void {
    const connection = this.idle.pop();
    if (connection) return connection.assign(call);
    this.waiting.push({ call, since: performance.now() });
    if (this.all.size < ENOUGH_CONNECTIONS) this.connect();
    else this.timer ??= setTimeout(() => this.openForTheImpatient(), PATIENCE_MS);
  }

  /** A call that waits is no longer wanted. */
  cancel(call: UpstreamCall): void {
    const at = this.waiting.findIndex((one) => one.call === call);
    if (at >= 0) this.waiting.splice(at, 1);
  }

  private connect(): void {
    this.connecting++;
    this.all.add(new UpstreamConnection(this));
  }

  private openForTheImpatient(): void {
    this.timer = undefined;
    const late = performance.now() - PATIENCE_MS + 1;
    for (const { since } of this.waiting) {
      if (since > late || this.connecting >= this.waiting.length) break;
      this.connect();
    }
    if (this.waiting.length > this.connecting)
      this.timer = setTimeout(() => this.openForTheImpatient(), PATIENCE_MS);
  }

  connected(connection: UpstreamConnection): void {
    this.connecting--;
    this.released(connection);
  }

  connectFailed(_connection: UpstreamConnection, reason: string): void {
    this.connecting--;
    // Whoever waits longest hears of it: one attempt, one answer.
    this.waiting.shift()?.call.onFailure(new UpstreamFailure('connect', reason, false));
  }

  released(connection: UpstreamConnection): void {
    const next = this.waiting.shift();
    if (next) connection.assign(next.call);
    else if (this.closed) connection.destroy();
    else this.idle.push(connection);
  }

  forget(connection: UpstreamConnection): void {
    this.all.delete(connection);
    const at = this.idle.indexOf(connection);
    if (at >= 0) this.idle.splice(at, 1);
    // A connection that is gone without an answer to those in line: somebody must open another.
    if (this.waiting.length > this.connecting && this.all.size < ENOUGH_CONNECTIONS && !this.closed)
      this.connect();
  }

  get size(): number {
    return this.all.size;
  }

  /** Takes no more calls; `graceful` lets those under way end. */
  close(graceful: boolean): void {
    this.closed = true;
    clearTimeout(this.timer);
    for (const connection of graceful ? [...this.idle] : [...this.all]) connection.destroy();
  }
}
