import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '../shared/auth/tokens.ts';
import { type Problem, problemBody } from '../shared/errors.ts';
import { newId } from '../shared/ids.ts';
import {
  childTraceparent,
  newTraceparent,
  traceIdOf,
  validRequestId,
  validTraceparent,
} from '../shared/observability/trace.ts';

/** One request and its reply on their way through the gateway: what the policies learn about it, and how it is answered. */
export class Exchange {
  readonly started = performance.now();
  readonly method: string;
  /** As the client sent it, without the query. */
  readonly path: string;
  /** With the question mark, or empty. */
  readonly query: string;
  readonly requestId: string;
  /** The client's trace with a parent of our own, or a new trace. */
  readonly traceparent: string;
  readonly continuesTrace: boolean;
  /** The client's address, as far as it can be believed. */
  address = '';
  /** How the client reached us or the proxy in front of us. */
  scheme: 'http' | 'https' = 'http';
  host = '';
  caller: Caller | undefined;
  /** Label in metrics and logs. */
  route = 'none';
  upstream = 'none';
  bytesSent = 0;
  /** Headers that every reply of this exchange gets; a proxied reply's own headers win over `defaults`. */
  readonly headers = new Map<string, string>();
  readonly defaults = new Map<string, string>();

  constructor(
    readonly request: IncomingMessage,
    readonly response: ServerResponse,
    private readonly lingerMs: number,
  ) {
    const target = request.url ?? '/';
    const mark = target.indexOf('?');
    this.method = request.method ?? 'GET';
    this.path = mark < 0 ? target : target.slice(0, mark);
    this.query = mark < 0 ? '' : target.slice(mark);
    const requestId = request.headers['x-request-id'];
    const parent = request.headers.traceparent;
    this.requestId = typeof requestId === 'string' && validRequestId(requestId) ? requestId : newId();
    this.continuesTrace = typeof parent === 'string' && validTraceparent(parent);
    this.traceparent = this.continuesTrace ? childTraceparent(parent as string) : newTraceparent();
    this.headers.set('x-request-id', this.requestId);
    this.headers.set('traceparent', this.traceparent);
  }

  get traceId(): string {
    return traceIdOf(this.traceparent);
  }

  get hasBody(): boolean {
    const { headers } = this.request;
    return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  }

  /** Tells a client that asked (`Expect: 100-continue`) to send its body. Once per request. */
  sendContinue(): void {
    if (this.request.headers.expect?.toLowerCase() === '100-continue') this.response.writeContinue();
  }

  /** Sends a whole reply. `body` is left out for HEAD, with its length kept (RFC 9110, 9.3.2). */
  reply(status: number, headers: Record<string, string>, body: string | Uint8Array = ''): void {
    if (this.response.headersSent || this.response.destroyed) return;
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    const all = new Map([...this.defaults, ...this.headers, ...Object.entries(headers)]);
    const bodiless = status === 204 || status === 304;
    if (!bodiless) all.set('content-length', String(bytes.byteLength));
    const unread = this.hasBody && !this.request.complete;
    if (unread) all.set('connection', 'close');
    this.response.writeHead(status, [...all].flat());
    const withBody = !bodiless && this.method !== 'HEAD';
    if (withBody) this.bytesSent = bytes.byteLength;
    if (!unread) return void (withBody ? this.response.end(bytes) : this.response.end());
    if (withBody) this.response.write(bytes);
    this.endAfterLingering();
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

  /**
   * Ends a reply that was given before the body was read: the rest is read and thrown away for a moment, because
   * closing with unread bytes resets the connection and the client may lose the reply (RFC 9112, 9.6).
   */
  endAfterLingering(): void {
    const { request, response } = this;
    let done = false;
    const finish = (): void => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      response.end();
      if (!request.complete) request.destroy();
    };
    const timer = setTimeout(finish, this.lingerMs);
    request.on('end', finish).on('close', finish).on('error', finish);
    request.removeAllListeners('data');
    request.resume();
  }
}
