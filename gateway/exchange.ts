import type { Caller } from '../shared/auth/tokens.ts';
import { type Problem, problemBody } from '../shared/errors.ts';
import {
  childTraceparent,
  newRequestId,
  newTraceparent,
  traceIdOf,
  validRequestId,
  validTraceparent,
} from '../shared/observability/trace.ts';
import type { Wire } from '../shared/runtime/tcp.ts';
import type { Fill } from './cache/fill.ts';
import type { BodyPace, BodyReader, ClientConnection } from './http/client-connection.ts';
import { httpDate } from './http/date.ts';
import type { RequestHead } from './http/head.ts';
import { type HeaderList, headerOf, removeHeader } from './http/headers.ts';
import { normaliseTarget } from './http/target.ts';
import type { ClientOrigin } from './policy/client-address.ts';
import { defaultBit, defaultLines } from './policy/security-headers.ts';
import type { Route } from './routes.ts';

/** Who answers an exchange hears of what happens to the client. */
export interface ExchangeListener {
  /** The client is gone; nobody is left to answer. */
  onGone(): void;
  /** What was written has been taken. */
  onDrain(): void;
  /** Request and reply have taken longer than the route allows. */
  onTotalTimeout(): void;
}

const NOWHERE: ClientOrigin = { address: '', scheme: 'http' };

/** Length of a reply that is not known when it begins. */
export const UNKNOWN_LENGTH = -1;

const LAST_CHUNK = Buffer.from('0\r\n\r\n');
const CRLF = Buffer.from('\r\n');

/** One request and its reply on their way through the gateway: what the policies learn about it, and how it is answered. */
export class Exchange {
  readonly started = performance.now();
  readonly method: string;
  /** Normalised: what the routing rule sees is what the upstream sees. */
  readonly path: string;
  /** With the question mark, or empty. */
  readonly query: string;
  readonly requestId: string;
  /** The client's trace with a parent of our own, or a new trace. */
  readonly traceparent: string;
  readonly continuesTrace: boolean;
  origin: ClientOrigin = NOWHERE;
  caller: Caller | undefined;
  /** Label in metrics and logs. */
  route = 'none';
  upstream = 'none';
  /** 0 until there is a reply. */
  status = 0;
  bytesSent = 0;
  listener: ExchangeListener | undefined;
  /** The line of the routing table, once it is found. */
  rule: Route | undefined;
  /** Somebody answers it: no further policy has a say. */
  handled = false;
  replyStarted = false;
  replyEnded = false;
  /** The connection ends with this reply. */
  closes = false;
  /** What comes of it goes into the response cache. */
  fill: Fill | undefined;
  /** What the client has, where the service is asked something else. */
  askedIfNoneMatch: string | undefined;
  /** Our own headers for the reply: they win over the upstream's. */
  readonly ours: HeaderList = [];

  private chunked = false;
  private bodiless = false;
  private headText = '';
  private pieces: Uint8Array[] = [];
  private gathered = 0;

  constructor(
    readonly head: RequestHead,
    private readonly connection: ClientConnection,
  ) {
    const { path, query } = normaliseTarget(head.target);
    this.method = head.method;
    this.path = path;
    this.query = query;
    const requestId = headerOf(head.headers, 'x-request-id');
    const parent = headerOf(head.headers, 'traceparent');
    this.requestId = requestId !== undefined && validRequestId(requestId) ? requestId : newRequestId();
    this.continuesTrace = parent !== undefined && validTraceparent(parent);
    this.traceparent = this.continuesTrace ? childTraceparent(parent!) : newTraceparent();
  }

  get traceId(): string {
    return traceIdOf(this.traceparent);
  }

  /** The client's address, as far as it can be believed. */
  get address(): string {
    return this.origin.address;
  }

  /** How the client reached us or the proxy in front of us. */
  get scheme(): 'http' | 'https' {
    return this.origin.scheme;
  }

  get host(): string {
    return this.head.host;
  }

  get peerAddress(): string {
    return this.connection.remoteAddress;
  }

  get hasBody(): boolean {
    return this.head.chunked || this.head.contentLength > 0;
  }

  get gone(): boolean {
    return this.connection.closed;
  }

  header(name: string): string | undefined {
    return headerOf(this.head.headers, name);
  }

  /** A header of our own for whatever reply this exchange gets. */
  setHeader(name: string, value: string): void {
    for (let index = 0; index < this.ours.length; index += 2) {
      if (this.ours[index] === name) {
        this.ours[index + 1] = value;
        return;
      }
    }
    this.ours.push(name, value);
  }

  addVary(name: string): void {
    const known = headerOf(this.ours, 'vary');
    this.setHeader('vary', known === undefined ? name : `${known}, ${name}`);
  }

  // The request's body

  readBody(reader: BodyReader, pace: BodyPace): void {
    this.connection.readBody(reader, pace);
  }
  pauseBody(): void {
    this.connection.pauseBody();
  }
  resumeBody(): void {
    this.connection.resumeBody();
  }
  stopBody(): void {
    this.connection.stopBody();
  }
  set totalMs(ms: number) {
    this.connection.totalMs = ms;
  }

  // The reply. Everything of one turn is gathered and goes out with `flush`.

  /** A reply before the reply (1xx, RFC 9110, 15.2); a client of HTTP/1.0 would not know it. */
  inform(status: number, reason: string, lines: string): void {
    if (this.head.minor === 0 || this.replyStarted) return;
    this.connection.write(Buffer.from(`HTTP/1.1 ${status} ${reason}\r\n${lines}\r\n`, 'latin1'));
  }

  /**
   * Begins the reply. `lines` are complete header lines without framing; `length` is the body's, or UNKNOWN_LENGTH.
   * `overridden` tells which of our default headers the lines bring themselves.
   */
  startReply(status: number, reason: string, lines: string, length: number, overridden = 0): void {
    this.status = status;
    this.replyStarted = true;
    this.handled = true;
    this.bodiless = this.method === 'HEAD' || status === 204 || status === 304;
    this.closes = this.connection.closesAfterReply;
    let text = `HTTP/1.1 ${status} ${reason}\r\n${lines}x-request-id: ${this.requestId}\r\ntraceparent: ${this.traceparent}\r\n`;
    let skipped = overridden;
    for (let index = 0; index < this.ours.length; index += 2) {
      const name = this.ours[index]!;
      text += `${name}: ${this.ours[index + 1]}\r\n`;
      skipped |= defaultBit(name);
    }
    text += defaultLines(skipped);
    if (length >= 0) {
      // 204 has no length at all (RFC 9110, 8.6).
      if (status !== 204) text += `content-length: ${length}\r\n`;
    } else if (!this.bodiless) {
      if (this.head.minor === 1) {
        this.chunked = true;
        text += 'transfer-encoding: chunked\r\n';
      } else {
        this.closes = true;
      }
    }
    if (this.closes) text += 'connection: close\r\n';
    else if (this.head.minor === 0) text += 'connection: keep-alive\r\n';
    this.headText = `${text}\r\n`;
  }

  /** The pieces of this reply are nobody else's: their memory may be given back once they are sent. */
  owned = false;

  /** Adds to the body. Left out where a reply has none (HEAD, 204, 304). */
  writeReply(piece: Uint8Array): void {
    if (this.bodiless || piece.byteLength === 0) return;
    this.bytesSent += piece.byteLength;
    if (this.chunked) {
      this.gather(Buffer.from(`${piece.byteLength.toString(16)}\r\n`, 'latin1'));
      this.gather(piece);
      this.gather(CRLF);
    } else {
      this.gather(piece);
    }
  }

  private gather(piece: Uint8Array): void {
    this.pieces.push(piece);
    this.gathered += piece.byteLength;
  }

  /** Sends what was gathered. False: wait for the listener's `onDrain`. */
  flush(): boolean {
    const { headText, pieces, gathered } = this;
    if (headText === '' && gathered === 0) return true;
    this.headText = '';
    this.pieces = [];
    this.gathered = 0;
    if (headText === '' && pieces.length === 1)
      return this.owned ? this.connection.writeOwned(pieces[0]!) : this.connection.write(pieces[0]!);
    return this.connection.writeText(headText, pieces);
  }

  /** The reply is complete. Trailers go out where there are chunks (RFC 9112, 7.1.2). */
  endReply(trailers: HeaderList = []): void {
    if (this.chunked && !this.bodiless) {
      if (trailers.length === 0) {
        this.gather(LAST_CHUNK);
      } else {
        let text = '0\r\n';
        for (let index = 0; index < trailers.length; index += 2)
          text += `${trailers[index]}: ${trailers[index + 1]}\r\n`;
        this.gather(Buffer.from(`${text}\r\n`, 'latin1'));
      }
    }
    this.replyEnded = true;
    this.flush();
    this.listener = undefined;
    this.connection.endReply(this.closes);
  }

  /** Breaks the connection off: once the head is out, this is the only honest answer left. */
  cutOff(): void {
    this.connection.destroy();
  }

  /** Sends a whole reply. The body is left out for HEAD, with its length kept (RFC 9110, 9.3.2). */
  reply(status: number, headers: Record<string, string>, body: string | Uint8Array = ''): void {
    if (this.replyStarted || this.gone) return;
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    let lines = `date: ${httpDate()}\r\n`;
    for (const name in headers) {
      // What the reply says about itself wins over what policies have said before.
      removeHeader(this.ours, name);
      lines += `${name}: ${headers[name]}\r\n`;
    }
    const overridden = Object.keys(headers).reduce((bits, name) => bits | defaultBit(name), 0);
    this.startReply(
      status,
      REASONS[status] ?? '',
      lines,
      status === 304 ? UNKNOWN_LENGTH : bytes.byteLength,
      overridden,
    );
    this.writeReply(bytes);
    this.endReply();
  }

  replyProblem(problem: Problem): void {
    this.reply(
      problem.status,
      {
        'content-type': 'application/problem+json',
        'cache-control': 'no-store',
        ...(problem.retryAfter === undefined
          ? {}
          : { 'retry-after': String(Math.max(1, Math.ceil(problem.retryAfter))) }),
        ...problem.headers,
      },
      JSON.stringify(problemBody(problem, this.requestId)),
    );
  }

  /** Says yes to an upgrade; `detach` follows. */
  switchProtocols(protocol: string, lines: string): void {
    this.status = 101;
    this.replyStarted = true;
    this.connection.write(
      Buffer.from(
        `HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ${protocol}\r\n` +
          `x-request-id: ${this.requestId}\r\n${lines}\r\n`,
        'latin1',
      ),
    );
  }

  /** Leaves HTTP: the bytes of both directions are the caller's from here on. */
  detach(): { wire: Wire; rest: Buffer | undefined } {
    return this.connection.detach();
  }
}

/** The phrases of the statuses we answer with ourselves; clients ignore them (RFC 9112, 4). */
const REASONS: Record<number, string> = {
  200: 'OK',
  204: 'No Content',
  304: 'Not Modified',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  410: 'Gone',
  413: 'Content Too Large',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  426: 'Upgrade Required',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};
