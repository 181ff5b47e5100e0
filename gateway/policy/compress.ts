import { type Exchange, type ExchangeListener, UNKNOWN_LENGTH } from '../exchange.ts';
import { changeHeaders, type ResponseHead } from '../http/head.ts';
import { type HeaderList, headerOf, removeHeader, type SharedHeaderList } from '../http/headers.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { ReplyFilter, ReplySink } from '../proxy/http.ts';
import {
  acceptableCoding,
  type Coding,
  compressNow,
  compressStream,
  FLUSH,
  isCompressible,
} from './content-coding.ts';

/** Below it the headers would cost what the body gains. In bytes. */
const LEAST_BYTES = 1_024;
/** Up to here a body is compressed at once, some 150 µs; past it as a stream on another thread. In bytes. */
const ONE_SHOT_BYTES = 65_536;
/** Digests over the content as it was sent (RFC 9530): we would make them wrong. */
const DIGESTS = ['content-digest', 'digest', 'content-md5'];

/**
 * Compresses what a client takes compressed. Never a reply with a secret in it: who can have text of his own put beside
 * the secret, and see how long the reply is, could guess it letter by letter (BREACH). That is every route that the
 * table calls `secret`, and every reply that sets a cookie.
 */
export function createCompressor(metrics: GatewayMetrics): ReplyFilter {
  return (exchange, _rule, reply, sink) => {
    const { contentLength } = reply;
    const coding = agreeOnCoding(exchange, reply);
    return coding ? new CompressingSink(exchange, sink, coding, contentLength, metrics) : sink;
  };
}

/** The coding that the reply's body is to go out in, with the head made to say so; undefined: as it is. */
export function agreeOnCoding(exchange: Exchange, reply: ResponseHead): Coding | undefined {
  const { coding, identity } = acceptableCoding(exchange.header('accept-encoding'));
  const { status, contentLength } = reply;
  if (status === 304) {
    if (coding) repeatWeakTag(exchange, reply);
    return undefined;
  }
  if (contentLength >= 0 && contentLength < LEAST_BYTES && (identity || contentLength === 0))
    return undefined;
  if (!mayCompress(exchange, reply)) return undefined;
  if (!variesBy(reply.headers, 'accept-encoding')) exchange.addVary('Accept-Encoding');
  if (!coding || exchange.method === 'HEAD') return undefined;
  describeCompressed(reply, coding);
  return coding;
}

/**
 * A tag that we have weakened comes back in If-Match, where only strong ones count (RFC 9110, 13.1.1): it stands for
 * the state of the resource that the service has tagged, whatever coding it went out in.
 */
export function restoreTags(exchange: Exchange): void {
  if (exchange.method === 'GET' || exchange.method === 'HEAD') return;
  if (exchange.header('if-match') === undefined) return;
  const headers = changeHeaders(exchange.head);
  for (let index = 0; index < headers.length; index += 2) {
    if (headers[index] === 'if-match') headers[index + 1] = headers[index + 1]!.replaceAll('W/"', '"');
  }
}

function mayCompress(exchange: Exchange, { status, headers }: ResponseHead): boolean {
  if (!isCompressible(headerOf(headers, 'content-type'))) return false;
  if (status === 206 || status === 204 || exchange.rule?.secret !== false) return false;
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index]!;
    if (name === 'content-encoding' || name === 'content-range' || name === 'set-cookie') return false;
    if (name === 'cache-control' && /\bno-transform\b/i.test(headers[index + 1]!)) return false;
    if (DIGESTS.includes(name)) return false;
  }
  return true;
}

/** The head of the compressed form: other bytes, so another tag, of unknown length, and without ranges. */
function describeCompressed(reply: ResponseHead, coding: Coding): void {
  const headers = changeHeaders(reply);
  removeHeader(headers, 'accept-ranges');
  for (let index = 0; index < headers.length; index += 2) {
    if (headers[index] === 'etag') headers[index + 1] = weakTag(headers[index + 1]!);
  }
  headers.push('content-encoding', coding);
  reply.contentLength = UNKNOWN_LENGTH;
}

const weakTag = (tag: string): string => (tag.startsWith('W/') ? tag : `W/${tag}`);

/** "Not modified" names the form that the client has, so that its cache finds it (RFC 9111, 4.3.4). */
function repeatWeakTag(exchange: Exchange, reply: ResponseHead): void {
  const asked = exchange.header('if-none-match');
  const headers = changeHeaders(reply);
  for (let index = 0; index < headers.length; index += 2) {
    if (headers[index] === 'etag' && asked?.includes(weakTag(headers[index + 1]!)))
      headers[index + 1] = weakTag(headers[index + 1]!);
  }
}

const variesBy = (headers: SharedHeaderList, name: string): boolean => {
  for (let index = 0; index < headers.length; index += 2) {
    if (headers[index] === 'vary' && headers[index + 1]!.toLowerCase().includes(name)) return true;
  }
  return false;
};

/**
 * Collects a small body and compresses it at its end; a larger one, or one of which nobody knows how long it gets, goes
 * through a stream. Of unknown length, everything of a turn is sent on with that turn: who sends it bit by bit has a
 * reason to.
 */
class CompressingSink implements ReplySink, ExchangeListener {
  private pieces: Uint8Array[] = [];
  private held = 0;
  private bytesIn = 0;
  private bytesOut = 0;
  private stream: ReturnType<typeof compressStream> | undefined;
  /** Who paused for us is told to go on. */
  private source: ExchangeListener | undefined;
  private waitsForClient = false;
  private sourceWaits = false;
  private readonly isSmall: boolean;

  constructor(
    private readonly exchange: Exchange,
    private readonly sink: ReplySink,
    private readonly coding: Coding,
    private readonly length: number,
    private readonly metrics: GatewayMetrics,
  ) {
    this.isSmall = length >= 0 && length <= ONE_SHOT_BYTES;
  }

  writeReply(piece: Uint8Array): void {
    this.bytesIn += piece.byteLength;
    if (this.stream) return void this.stream.write(piece);
    this.pieces.push(piece);
    this.held += piece.byteLength;
    if (this.held > ONE_SHOT_BYTES) this.openStream();
  }

  flush(): boolean {
    if (this.isSmall) return true;
    if (!this.stream) {
      this.sink.flush();
      if (this.held === 0) return true;
    }
    const stream = this.stream ?? this.openStream();
    if (this.length < 0) stream.flush(FLUSH[this.coding]);
    this.sourceWaits = this.waitsForClient || stream.writableNeedDrain;
    return !this.sourceWaits;
  }

  endReply(trailers: HeaderList): void {
    for (const name of DIGESTS) removeHeader(trailers, name);
    const { stream } = this;
    if (stream) {
      stream.once('end', () => this.finish(trailers));
      stream.end();
      return;
    }
    this.emit(
      compressNow(this.coding, this.pieces.length === 1 ? this.pieces[0]! : Buffer.concat(this.pieces)),
    );
    this.finish(trailers);
  }

  cutOff(): void {
    this.stream?.destroy();
    this.sink.cutOff();
  }

  private openStream() {
    const { exchange } = this;
    const stream = compressStream(this.coding);
    this.stream = stream;
    this.source = exchange.listener;
    exchange.listener = this;
    stream.on('data', (piece: Uint8Array) => {
      this.emit(piece);
      if (this.sink.flush()) return;
      this.waitsForClient = true;
      stream.pause();
    });
    stream.on('drain', () => this.letSourceGoOn());
    stream.on('error', () => this.cutOff());
    for (const piece of this.pieces) stream.write(piece);
    this.pieces = [];
    return stream;
  }

  private emit(piece: Uint8Array): void {
    this.bytesOut += piece.byteLength;
    this.sink.writeReply(piece);
  }

  private finish(trailers: HeaderList): void {
    const { coding } = this;
    this.metrics.compressed.inc({ coding, side: 'in' }, this.bytesIn);
    this.metrics.compressed.inc({ coding, side: 'out' }, this.bytesOut);
    this.sink.endReply(trailers);
  }

  private letSourceGoOn(): void {
    if (!this.sourceWaits || this.waitsForClient || this.stream!.writableNeedDrain) return;
    this.sourceWaits = false;
    this.source?.onDrain();
  }

  // The client's side, once there is a stream

  onDrain(): void {
    this.waitsForClient = false;
    this.stream!.resume();
    this.letSourceGoOn();
  }

  onGone(): void {
    this.stream!.destroy();
    this.source?.onGone();
  }

  onTotalTimeout(): void {
    this.source?.onTotalTimeout();
  }
}
