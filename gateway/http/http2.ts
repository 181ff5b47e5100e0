import {
  constants,
  type Http2Stream,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { Duplex } from 'node:stream';
import type { Wire, WireOwner } from '../../shared/runtime/tcp.ts';
import { type BodyDecoder, type BodyEvents, chunkedDecoder, lengthDecoder } from './body-decoder.ts';
import type { Deadlines, Waiting } from './deadlines.ts';
import { endOfHead, parseResponseHead, type ResponseHead } from './head.ts';

/** What HTTP/2 connections need of the server. */
export interface Http2Door {
  readonly deadlines: Deadlines;
  /** A connection without a request is ended after so long, in milliseconds. */
  readonly keepAliveMs: number;
  /** Reads requests from a wire as HTTP/1.1. */
  connect(wire: Wire): WireOwner;
  onClosed(connection: Http2Connection): void;
}

const MAX_STREAMS = 100;
const MAX_HEAD_BYTES = 16_384;
/** What may wait in our own process for one connection, in bytes: replies are bounded by their streams. */
const MAX_WAITING_BYTES = 4_194_304;
/** A client that opens streams to take them back (CVE-2023-44487) does it no more often than so, in so many seconds. */
const MAX_CANCELLED = 200;
const CANCEL_WINDOW_MS = 10_000;
/** Of a reply's stream, from where on its source waits. */
const ENOUGH_BYTES = 262_144;

/**
 * One client's connection of HTTP/2 (RFC 9113). The runtime does the framing; each stream is then read as if it were a
 * connection of HTTP/1.1 with one request on it, by the same strict parser and through the same steps.
 */
export class Http2Connection implements Waiting {
  private readonly session: ServerHttp2Session;
  private readonly transport: WireStream;
  private streams = 0;
  private idleSince = performance.now();
  private cancelled = 0;
  private cancelledSince = 0;
  private closed = false;

  constructor(
    wire: Wire,
    private readonly door: Http2Door,
  ) {
    this.transport = new WireStream(wire);
    this.session = performServerHandshake(this.transport, {
      settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: MAX_HEAD_BYTES, enablePush: false },
    });
    this.session.on('stream', (stream, headers) => this.onStream(stream, headers, wire.remoteAddress));
    this.session.on('error', () => this.destroy());
    this.session.on('close', () => this.destroy());
    this.transport.on('close', () => this.destroy());
    door.deadlines.watch(this);
  }

  private onStream(stream: ServerHttp2Stream, headers: Headers, remoteAddress: string): void {
    stream.on('error', () => {});
    const request = requestText(headers, stream.endAfterHeaders === true);
    if (request === undefined) return stream.close(constants.NGHTTP2_PROTOCOL_ERROR);
    if (this.streams >= MAX_STREAMS) return stream.close(constants.NGHTTP2_REFUSED_STREAM);
    this.streams++;
    stream.once('close', () => {
      this.streams--;
      this.idleSince = performance.now();
      if (stream.rstCode === constants.NGHTTP2_CANCEL) this.countCancelled();
    });
    const wire = new StreamWire(stream, headers, remoteAddress);
    wire.owner = this.door.connect(wire);
    wire.begin(request);
  }

  private countCancelled(): void {
    const now = performance.now();
    if (now - this.cancelledSince > CANCEL_WINDOW_MS) {
      this.cancelledSince = now;
      this.cancelled = 0;
    }
    if (++this.cancelled > MAX_CANCELLED)
      this.session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  tick(now: number): void {
    if (this.transport.writableLength > MAX_WAITING_BYTES) this.destroy();
    else if (this.streams === 0 && now - this.idleSince > this.door.keepAliveMs) this.drain();
  }

  /** Takes no new streams, lets those there are end. */
  drain(): void {
    if (this.session.closed || this.session.destroyed) return this.destroy();
    this.session.close();
  }

  destroy(): void {
    if (this.closed) return;
    this.closed = true;
    this.door.deadlines.forget(this);
    this.session.destroy();
    this.transport.destroy();
    this.door.onClosed(this);
  }
}

/** A wire as the stream that the runtime's HTTP/2 reads and writes. */
class WireStream extends Duplex implements WireOwner {
  private written: (() => void) | undefined;

  constructor(private readonly wire: Wire) {
    super({ allowHalfOpen: true });
    wire.owner = this;
  }

  onData(chunk: Buffer): void {
    if (!this.push(chunk)) this.wire.pause();
  }

  override _read(): void {
    this.wire.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.wire.write(chunk)) done();
    else this.written = done;
  }

  onDrain(): void {
    const { written } = this;
    this.written = undefined;
    written?.();
  }

  override _final(done: () => void): void {
    this.wire.end();
    done();
  }

  onEnd(): void {
    this.push(null);
  }

  onClose(): void {
    this.destroy();
  }

  override _destroy(_error: Error | null, done: () => void): void {
    this.wire.destroy();
    done();
  }
}

type Headers = Record<string, string | string[] | undefined>;

/** RFC 9113, 8.2: in lower case, no colon; nothing in a value that would end a line of HTTP/1.1. */
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for just these
const BREAKS_LINES = /[\x00-\x08\x0a-\x1f\x7f\u0100-\uffff]/;
/** RFC 9113, 8.2.2: a request with one of these is malformed. */
const OF_HTTP_1 = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']);

/** The head of a request as HTTP/1.1 has it; undefined if it is malformed (RFC 9113, 8.1.1). */
function requestText(headers: Headers, endsHere: boolean): string | undefined {
  const { ':method': method, ':path': path, ':scheme': scheme, ':authority': authority } = headers;
  if (typeof method !== 'string' || !TOKEN.test(method)) return undefined;
  if (typeof path !== 'string' || path === '' || BREAKS_LINES.test(path) || path.includes(' '))
    return undefined;
  if (scheme !== 'https' && scheme !== 'http') return undefined;
  const host = authority ?? headers.host;
  if (typeof host !== 'string' || BREAKS_LINES.test(host)) return undefined;
  let text = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n`;
  for (const name in headers) {
    if (name.startsWith(':')) continue;
    if (!NAME.test(name) || OF_HTTP_1.has(name)) return undefined;
    const value = headers[name];
    if (value === undefined) continue;
    if (name === 'host') {
      if (value !== host) return undefined;
      continue;
    }
    // RFC 9113, 8.2.3: the crumbs of a cookie are one.
    const values = name === 'cookie' ? [[value].flat().join('; ')] : [value].flat();
    for (const one of values) {
      if (BREAKS_LINES.test(one) || (name === 'te' && one.toLowerCase() !== 'trailers')) return undefined;
      text += `${name}: ${one}\r\n`;
    }
  }
  if (!endsHere && headers['content-length'] === undefined) text += 'transfer-encoding: chunked\r\n';
  if (endsHere && Number(headers['content-length'] ?? 0) !== 0) return undefined;
  return `${text}\r\n`;
}

const NOBODY: WireOwner = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} };
const LAST_CHUNK = Buffer.from('0\r\n\r\n');

/** One stream, as a wire that speaks HTTP/1.1. Trailers are left out. */
class StreamWire implements Wire, BodyEvents {
  owner: WireOwner = NOBODY;
  pending = 0;
  progressAt = 0;
  closed = false;
  private held: Buffer | undefined;
  private decoder: BodyDecoder | undefined;
  private headSent = false;
  private ended = false;
  private bytesLeft: number;
  private readonly isHead: boolean;

  constructor(
    private readonly stream: ServerHttp2Stream,
    headers: Headers,
    readonly remoteAddress: string,
  ) {
    this.isHead = headers[':method'] === 'HEAD';
    this.bytesLeft = headers['content-length'] === undefined ? -1 : Number(headers['content-length']);
  }

  /** Hands the request over, and its body as it comes. */
  begin(request: string): void {
    const { stream } = this;
    stream.on('close', () => this.onClosed());
    if (stream.endAfterHeaders !== true) {
      stream.on('data', (chunk: Buffer) => this.onRequestData(chunk));
      stream.on('end', () => this.onRequestEnd());
    }
    this.owner.onData(Buffer.from(request, 'latin1'));
  }

  private onRequestData(chunk: Buffer): void {
    if (this.closed || chunk.byteLength === 0) return;
    if (this.bytesLeft < 0) {
      this.owner.onData(Buffer.concat([Buffer.from(`${chunk.byteLength.toString(16)}\r\n`), chunk, CRLF]));
      return;
    }
    this.bytesLeft -= chunk.byteLength;
    // RFC 9113, 8.1.1: another length than it said.
    if (this.bytesLeft < 0) this.reset(constants.NGHTTP2_PROTOCOL_ERROR);
    else this.owner.onData(chunk);
  }

  private onRequestEnd(): void {
    if (this.closed || this.ended) return;
    if (this.bytesLeft > 0) this.reset(constants.NGHTTP2_PROTOCOL_ERROR);
    else if (this.bytesLeft < 0) this.owner.onData(LAST_CHUNK);
  }

  // The reply

  write(bytes: Uint8Array): boolean {
    if (!this.closed && !this.ended) this.take(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    return this.pending < ENOUGH_BYTES;
  }

  writeOwned(bytes: Uint8Array): boolean {
    return this.write(bytes);
  }

  writeText(text: string, pieces: readonly Uint8Array[]): boolean {
    if (text !== '') this.write(Buffer.from(text, 'latin1'));
    for (const piece of pieces) this.write(piece);
    return this.pending < ENOUGH_BYTES;
  }

  private take(chunk: Buffer): void {
    let bytes = this.held === undefined ? chunk : Buffer.concat([this.held, chunk]);
    this.held = undefined;
    while (!this.headSent) {
      const end = endOfHead(bytes, 0);
      if (end < 0) {
        this.held = bytes;
        return;
      }
      const head = parseResponseHead(bytes.toString('latin1', 0, end - 4));
      bytes = bytes.subarray(end);
      if (head.status < 200) this.stream.additionalHeaders(headersOf(head));
      else this.respond(head);
    }
    if (bytes.byteLength > 0) this.decoder?.push(bytes);
  }

  private respond(head: ResponseHead): void {
    this.headSent = true;
    const { status, chunked, contentLength } = head;
    const isEmpty = this.isHead || status === 204 || status === 304 || (!chunked && contentLength <= 0);
    this.stream.respond(headersOf(head), { endStream: isEmpty });
    if (isEmpty) this.ended = true;
    else this.decoder = chunked ? chunkedDecoder(this) : lengthDecoder(contentLength, this);
  }

  onBodyData(piece: Buffer): void {
    const size = piece.byteLength;
    if (this.pending === 0) this.progressAt = performance.now();
    this.pending += size;
    this.stream.write(piece, () => {
      if (this.closed) return;
      this.progressAt = performance.now();
      this.pending -= size;
      if (this.pending === 0) this.owner.onDrain();
    });
  }

  onBodyEnd(): void {
    this.ended = true;
    this.stream.end();
  }

  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  end(): void {
    // Answered before the body was here (RFC 9113, 8.1): the client need not send the rest.
    if (this.ended && !this.stream.readableEnded && this.stream.endAfterHeaders !== true)
      this.stream.resume();
  }

  close(): void {
    this.destroy();
  }

  destroy(): void {
    this.reset(this.ended ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_INTERNAL_ERROR);
  }

  private reset(code: number): void {
    if (this.closed) return;
    (this.stream as Http2Stream).close(code);
    this.onClosed();
  }

  private onClosed(): void {
    if (this.closed) return;
    this.closed = true;
    this.pending = 0;
    this.held = undefined;
    this.owner.onClose(undefined);
  }
}

const CRLF = Buffer.from('\r\n');

/** What is about the connection of HTTP/1.1 stays there. */
function headersOf({ status, headers }: ResponseHead): Record<string, string | number | string[]> {
  const result: Record<string, string | number | string[]> = { ':status': status };
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index]!;
    if (OF_HTTP_1.has(name)) continue;
    const value = headers[index + 1]!;
    const before = result[name];
    if (before === undefined) result[name] = value;
    else result[name] = [...(Array.isArray(before) ? before : [String(before)]), value];
  }
  return result;
}
