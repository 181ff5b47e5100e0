import { Problem } from '../../shared/errors.ts';
import type { Wire, WireOwner } from '../../shared/runtime/tcp.ts';
import { Exchange } from '../exchange.ts';
import {
  BadFraming,
  type BodyDecoder,
  type BodyEvents,
  chunkedDecoder,
  lengthDecoder,
} from './body-decoder.ts';
import type { Deadlines, Waiting } from './deadlines.ts';
import { BadHead, endOfHead, hasBareLineFeed, MAX_HEAD_BYTES } from './head.ts';
import type { HeaderList } from './headers.ts';
import type { RequestHeads } from './known-heads.ts';
import { MAX_TARGET_BYTES } from './target.ts';

/** How long a client may take for what, in milliseconds. */
export interface ClientTimings {
  /** From the first byte of a request, or from a new connection, to the end of the head. */
  headMs: number;
  /** Between two requests. */
  keepAliveMs: number;
  /** It takes none of the reply. */
  stallMs: number;
  /** After a refusal, the rest of a body is read and thrown away for so long, so that the client gets the reply. */
  lingerMs: number;
}

/** What the gateway does with what comes in over a connection. */
export interface ClientDoor {
  readonly timings: ClientTimings;
  readonly deadlines: Deadlines;
  readonly heads: RequestHeads;
  /** While draining, each reply is the last on its connection (RFC 9112, 9.6). */
  readonly stopping: boolean;
  onRequest(exchange: Exchange): void;
  /** The bytes to answer with before the connection is closed. */
  onMalformed(error: BadHead): Buffer;
  /** The reply has gone out whole, or was cut off. */
  onDone(exchange: Exchange, cutOff: boolean): void;
  onClosed(connection: ClientConnection): void;
}

/** Takes the body of a request as it comes. */
export interface BodyReader {
  onBody(piece: Buffer): void;
  onBodyEnd(trailers: HeaderList): void;
  /** `request-timeout` when it came too slowly, `validation-failed` when its framing is broken. */
  onBodyFailed(problem: Problem): void;
}

/** How fast a body must come. */
export type BodyPace =
  | { withinMs: number }
  /** At least so many bytes a second, averaged over each window; time in which we did not read does not count. */
  | { windowMs: number; bytesPerSecond: number };

/** Bytes of later requests that are kept while one is being answered; then the socket is paused. */
const MAX_HELD_BYTES = 65_536;
/** A client that has closed its side may still be reading (RFC 9112, 9.6), or gone: only writing would tell. In milliseconds without a byte to write. */
const HALF_CLOSED_MS = 500;
/** Empty lines before a request line that are skipped (RFC 9112, 2.2). */
const MAX_EMPTY_LINES = 4;
/** Of a request line, besides the target: a method, the version, the spaces between. */
const LONGEST_LINE_BESIDES = 64;

const CONTINUE = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n');
const NO_TRAILERS: HeaderList = [];

type Phase = 'head' | 'exchange' | 'closing' | 'detached';

/** One client's connection: its requests one after the other, with their bodies, and the bytes of the replies. */
export class ClientConnection implements WireOwner, BodyEvents, Waiting {
  private phase: Phase = 'head';
  private exchange: Exchange | undefined;
  /** Bytes that nobody has looked at, from the end of the last head on. */
  private held: Buffer | undefined;
  /** How far `held` was searched for the end of a head. */
  private searched = 0;
  private emptyLines = 0;
  /** Of the request in hand, until its body has ended. */
  private decoder: BodyDecoder | undefined;
  private reader: BodyReader | undefined;
  private pace: BodyPace | undefined;
  private paceSince = 0;
  private paceBytes = 0;
  private bodyPaused = false;
  private continueDue = false;
  private parsing = false;
  private halfClosed = false;
  /** When it was opened, or its last reply had gone out, as `performance.now()`. */
  private idleSince: number;
  /** What the phase may take, as `performance.now()`; 0: no limit. */
  private deadline: number;
  /** Request and reply together. */
  private totalDeadline = 0;

  constructor(
    readonly wire: Wire,
    private readonly door: ClientDoor,
  ) {
    this.idleSince = performance.now();
    this.deadline = this.idleSince + door.timings.headMs;
    door.deadlines.watch(this);
  }

  get idle(): boolean {
    return this.phase === 'head' && this.held === undefined;
  }

  get remoteAddress(): string {
    return this.wire.remoteAddress;
  }

  get closed(): boolean {
    return this.wire.closed;
  }

  /** True once the whole body is here. */
  get bodyEnded(): boolean {
    return this.decoder === undefined;
  }

  // What comes in

  onData(chunk: Buffer): void {
    if (this.phase === 'closing') return;
    if (this.reader && this.decoder && this.held === undefined) return this.feed(chunk);
    this.held = this.held === undefined ? chunk : Buffer.concat([this.held, chunk]);
    if (this.phase === 'head') this.nextRequest();
    else if (this.held.byteLength > MAX_HELD_BYTES) this.wire.pause();
  }

  /** Begins the requests that are here, one after the other, as long as each is answered at once. */
  private nextRequest(): void {
    if (this.parsing) return;
    this.parsing = true;
    while (this.phase === 'head' && this.held !== undefined) {
      if (!this.beginRequest(this.held)) break;
    }
    this.parsing = false;
  }

  private beginRequest(bytes: Buffer): boolean {
    if (this.searched === 0) {
      let start = 0;
      while (bytes[start] === 0x0d && bytes[start + 1] === 0x0a && this.emptyLines < MAX_EMPTY_LINES) {
        start += 2;
        this.emptyLines++;
      }
      if (start > 0) {
        this.held = start === bytes.byteLength ? undefined : bytes.subarray(start);
        return this.held !== undefined;
      }
    }
    // The first half of an empty line.
    if (bytes.byteLength === 1 && bytes[0] === 0x0d) return false;
    const end = endOfHead(bytes, this.searched);
    if (end < 0 ? bytes.byteLength > MAX_HEAD_BYTES : end > MAX_HEAD_BYTES) {
      this.refuse(tooLarge(bytes));
      return false;
    }
    if (end < 0) {
      if (hasBareLineFeed(bytes, this.searched)) {
        this.refuse(new BadHead(400, 'Lines end with CRLF.'));
        return false;
      }
      // TLS, for example: its sender would wait for an answer until the deadline.
      if (bytes[0]! <= 0x20 || bytes[0]! >= 0x7f) {
        this.refuse(new BadHead(400, 'This is no HTTP.'));
        return false;
      }
      if (this.halfClosed) {
        this.lingerAndClose();
        return false;
      }
      // The clock of a head starts with its first byte.
      if (this.searched === 0) this.deadline = performance.now() + this.door.timings.headMs;
      this.searched = Math.max(1, bytes.byteLength - 3);
      return false;
    }
    this.searched = 0;
    this.emptyLines = 0;
    this.held = end === bytes.byteLength ? undefined : bytes.subarray(end);
    let exchange: Exchange;
    try {
      exchange = new Exchange(this.door.heads.read(bytes, end), this);
    } catch (error) {
      if (!(error instanceof BadHead)) throw error;
      this.refuse(error);
      return false;
    }
    const { head } = exchange;
    this.decoder = head.chunked
      ? chunkedDecoder(this)
      : head.contentLength > 0
        ? lengthDecoder(head.contentLength, this)
        : undefined;
    this.continueDue = head.expectContinue && this.decoder !== undefined;
    this.phase = 'exchange';
    this.deadline = this.halfClosed ? performance.now() + HALF_CLOSED_MS : 0;
    this.exchange = exchange;
    this.door.onRequest(exchange);
    return true;
  }

  private refuse(error: BadHead): void {
    this.held = undefined;
    this.wire.write(this.door.onMalformed(error));
    this.lingerAndClose();
  }

  // The body of the request in hand

  /** Begins to read the body; what is here comes at once. A client that asked is told to send it (RFC 9110, 10.1.1). */
  readBody(reader: BodyReader, pace: BodyPace): void {
    this.reader = reader;
    if (this.decoder === undefined) return reader.onBodyEnd(NO_TRAILERS);
    this.pace = pace;
    this.paceSince = performance.now();
    this.paceBytes = 0;
    if (this.continueDue && this.held === undefined) this.wire.write(CONTINUE);
    this.continueDue = false;
    this.takeHeld();
    // Half a body, and no more will come.
    if (this.halfClosed && this.decoder !== undefined && this.reader === reader) return this.destroy();
    if (!this.bodyPaused) this.readOn();
  }

  /** Unless there is enough of later requests: each reply lets in as much as it has made room for, no more. */
  private readOn(): void {
    if (this.held === undefined || this.held.byteLength <= MAX_HELD_BYTES) this.wire.resume();
  }

  pauseBody(): void {
    if (this.decoder === undefined || this.bodyPaused) return;
    this.bodyPaused = true;
    this.wire.pause();
  }

  resumeBody(): void {
    if (!this.bodyPaused) return;
    this.bodyPaused = false;
    this.paceSince = performance.now();
    this.paceBytes = 0;
    this.wire.resume();
  }

  private takeHeld(): void {
    if (this.held === undefined) return;
    const bytes = this.held;
    this.held = undefined;
    this.feed(bytes);
  }

  private feed(chunk: Buffer): void {
    // Asked now: whoever gets the body may give its memory back.
    const size = chunk.byteLength;
    let taken: number;
    try {
      taken = this.decoder!.push(chunk);
    } catch (error) {
      if (!(error instanceof BadFraming)) throw error;
      this.failBody(new Problem('validation-failed', 'The body is not framed as HTTP/1.1 wants it.'));
      return;
    }
    if (taken === size || this.phase === 'closing') return;
    this.held = chunk.subarray(taken);
    // Answered already, as the body ended.
    if (this.phase === 'head') this.nextRequest();
  }

  onBodyData(piece: Buffer): void {
    this.paceBytes += piece.byteLength;
    this.reader?.onBody(piece);
  }

  onBodyEnd(trailers: HeaderList): void {
    this.decoder = undefined;
    this.pace = undefined;
    this.bodyPaused = false;
    this.reader?.onBodyEnd(trailers);
  }

  private failBody(problem: Problem): void {
    const { reader } = this;
    this.reader = undefined;
    this.pace = undefined;
    reader?.onBodyFailed(problem);
  }

  /** Stops reading: nobody wants the rest of the body. */
  stopBody(): void {
    this.reader = undefined;
    this.pace = undefined;
  }

  // The reply

  /**
   * True if the connection can't be used again after this reply: the client said so, we are stopping, or the body
   * of the request is not all here. Asked once, right before the head of the reply is written.
   */
  get closesAfterReply(): boolean {
    if (this.decoder !== undefined && this.reader === undefined) this.takeHeld();
    const { head } = this.exchange!;
    return (
      !head.keepAlive ||
      // Who asked for another protocol may have sent its first bytes already: they are no request.
      head.upgrade !== '' ||
      this.door.stopping ||
      this.decoder !== undefined ||
      (this.halfClosed && this.held === undefined)
    );
  }

  set totalMs(ms: number) {
    this.totalDeadline = ms > 0 ? performance.now() + ms : 0;
  }

  /** False: the kernel is full; the exchange's listener hears `onDrain`. */
  write(bytes: Uint8Array): boolean {
    if (this.halfClosed) this.deadline = performance.now() + HALF_CLOSED_MS;
    return this.wire.write(bytes);
  }

  writeOwned(bytes: Uint8Array): boolean {
    if (this.halfClosed) this.deadline = performance.now() + HALF_CLOSED_MS;
    return this.wire.writeOwned(bytes);
  }

  writeText(text: string, pieces: readonly Uint8Array[]): boolean {
    if (this.halfClosed) this.deadline = performance.now() + HALF_CLOSED_MS;
    return this.wire.writeText(text, pieces);
  }

  /** The reply is complete; `close` as its head said. */
  endReply(close: boolean): void {
    const exchange = this.exchange!;
    this.reader = undefined;
    this.pace = undefined;
    this.totalDeadline = 0;
    if (this.wire.pending > 0) return; // onDrain goes on
    this.finish(exchange, close);
  }

  private finish(exchange: Exchange, close: boolean): void {
    this.exchange = undefined;
    this.door.onDone(exchange, false);
    if (close) return this.lingerAndClose();
    this.phase = 'head';
    this.searched = 0;
    this.idleSince = performance.now();
    this.deadline = this.held === undefined ? this.idleSince + this.door.timings.keepAliveMs : 0;
    this.readOn();
    this.nextRequest();
  }

  onDrain(): void {
    const { exchange } = this;
    if (!exchange) return;
    if (exchange.replyEnded) this.finish(exchange, exchange.closes);
    else exchange.listener?.onDrain();
  }

  /**
   * Closes our side and throws away what still comes for a moment: closing with unread bytes resets the connection,
   * and the client may lose the reply (RFC 9112, 9.6).
   */
  private lingerAndClose(): void {
    this.phase = 'closing';
    this.held = undefined;
    this.decoder = undefined;
    this.deadline = performance.now() + this.door.timings.lingerMs;
    if (this.halfClosed)
      this.deadline = performance.now() + Math.min(HALF_CLOSED_MS, this.door.timings.lingerMs);
    this.wire.end();
  }

  /**
   * Lets a connection end after its next reply, or when it has been idle for `idleMs`: on one that is in use all the
   * time the next request may be on its way already, and would be lost (RFC 9112, 9.6).
   */
  drain(idleMs: number): void {
    if (!this.idle) return;
    this.deadline = Math.min(this.deadline, this.idleSince + idleMs);
    this.tick(performance.now());
  }

  /** Breaks off: what was sent must not look complete. */
  destroy(): void {
    this.wire.destroy();
  }

  /** Nothing was said yet, and it won't be HTTP/1.1: the wire is somebody else's. */
  leave(): void {
    this.phase = 'detached';
    this.door.deadlines.forget(this);
    this.door.onClosed(this);
  }

  /** Hands the bytes over to whoever speaks another protocol from here on. */
  detach(): { wire: Wire; rest: Buffer | undefined } {
    this.phase = 'detached';
    const rest = this.held;
    const exchange = this.exchange!;
    this.held = undefined;
    this.exchange = undefined;
    this.door.deadlines.forget(this);
    this.door.onClosed(this);
    this.door.onDone(exchange, false);
    return { wire: this.wire, rest };
  }

  // The end

  onEnd(): void {
    this.halfClosed = true;
    if (this.phase === 'closing') {
      // Both sides are done; a moment for the kernel to send what it holds.
      if (this.wire.pending === 0) this.deadline = Math.min(this.deadline, performance.now() + 50);
      return;
    }
    if (this.phase === 'head') return this.lingerAndClose();
    // Half a body. One that nobody has begun to read may be here as a whole.
    if (this.decoder !== undefined && this.reader !== undefined) return this.destroy();
    this.deadline = performance.now() + HALF_CLOSED_MS;
  }

  onClose(): void {
    this.door.deadlines.forget(this);
    this.door.onClosed(this);
    const { exchange } = this;
    if (!exchange) return;
    this.exchange = undefined;
    this.reader = undefined;
    exchange.listener?.onGone();
    this.door.onDone(exchange, true);
  }

  tick(now: number): void {
    if (this.wire.pending > 0 && now - this.wire.progressAt > this.door.timings.stallMs)
      return this.destroy();
    if (this.phase === 'exchange') this.tickExchange(now);
    else if (this.deadline > 0 && now > this.deadline) {
      // A reply that is on its way to a slow reader goes on without us.
      if (this.phase === 'closing') this.wire.close();
      else if (this.idle) this.lingerAndClose();
      else this.destroy();
    }
  }

  private tickExchange(now: number): void {
    const exchange = this.exchange!;
    if (this.deadline > 0 && now > this.deadline && this.wire.pending === 0) return this.destroy();
    if (this.totalDeadline > 0 && now > this.totalDeadline) {
      this.totalDeadline = 0;
      exchange.listener?.onTotalTimeout();
      return;
    }
    const { pace } = this;
    if (!pace || this.decoder === undefined) return;
    if ('withinMs' in pace) {
      if (now - this.paceSince > pace.withinMs) this.failBody(new Problem('request-timeout'));
      return;
    }
    if (this.bodyPaused) {
      this.paceSince = now;
      this.paceBytes = 0;
    } else if (now - this.paceSince > pace.windowMs) {
      const tooSlow = this.paceBytes < (pace.bytesPerSecond * pace.windowMs) / 1_000;
      this.paceSince = now;
      this.paceBytes = 0;
      if (tooSlow) this.failBody(new Problem('request-timeout', 'The upload was too slow for too long.'));
    }
  }
}

/** Whether it was the request line or all lines together (RFC 9112, 3; RFC 6585, 5). */
function tooLarge(bytes: Buffer): BadHead {
  const lineEnd = bytes.indexOf('\r\n');
  return lineEnd < 0 || lineEnd > MAX_TARGET_BYTES + LONGEST_LINE_BESIDES
    ? new BadHead(414, 'The target is too long.')
    : new BadHead(431, 'The head of the request is too large.');
}
