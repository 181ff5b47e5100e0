import { Problem, unavailable } from '../../shared/errors.ts';
import { type Exchange, type ExchangeListener, UNKNOWN_LENGTH } from '../exchange.ts';
import type { BodyReader } from '../http/client-connection.ts';
import type { ResponseHead } from '../http/head.ts';
import { type HeaderList, headerOf } from '../http/headers.ts';
import type {
  ConnectionPool,
  UpstreamCall,
  UpstreamConnection,
  UpstreamFailure,
} from '../http/upstream-connection.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { UpstreamPool } from '../upstreams/pool.ts';
import type { Outcome, Replica } from '../upstreams/replica.ts';
import {
  agreeOnLimit,
  type ForwardingHeaders,
  informationLines,
  replyLines,
  requestHead,
} from './headers.ts';

export type HttpPool = UpstreamPool<ConnectionPool>;
export type HttpReplica = Replica<ConnectionPool>;

/** What the proxy needs to know about where a request goes. All times in milliseconds. */
export interface ProxyRule {
  /** `json` bodies are read whole before the upstream hears of them; `stream` bodies pass through as they come. */
  body: 'json' | 'stream';
  /** Bytes. */
  bodyLimit: number;
  /** From the end of the request to the head of the reply. */
  firstByteMs: number;
  /** The whole exchange; 0: as long as bytes flow. */
  totalMs: number;
  /** How often a request that may be repeated is tried elsewhere. */
  retries: number;
  /** A request that may be repeated, and has no answer yet, is tried elsewhere after so long. */
  tryMs: number;
}

/** Where the body of a reply goes: the exchange itself, or something that changes or keeps it on the way. */
export interface ReplySink {
  writeReply(piece: Uint8Array): void;
  /** False: the client takes no more for now; the exchange's listener hears `onDrain`. */
  flush(): boolean;
  endReply(trailers: HeaderList): void;
  /** The reply broke off. */
  cutOff(): void;
}

/** May put itself between the upstream's reply and the client, and change the reply's headers for it. */
export type ReplyFilter = (
  exchange: Exchange,
  rule: ProxyRule,
  reply: ResponseHead,
  sink: ReplySink,
) => ReplySink;

export interface HttpProxyOptions {
  jsonBodyMs: number;
  uploadWindowMs: number;
  uploadBytesPerSecond: number;
  names: ForwardingHeaders;
  /** From the client inwards. */
  filters: readonly ReplyFilter[];
  metrics: GatewayMetrics;
  /** Answers the exchange with a problem, or cuts it off where its reply has begun. */
  fail(exchange: Exchange, error: unknown): void;
}

/** A streaming reverse proxy on keep-alive connections of our own; nothing is buffered but whole JSON bodies. */
export class HttpProxy {
  constructor(readonly options: HttpProxyOptions) {}

  /** Answers the exchange from the pool. */
  forward(exchange: Exchange, rule: ProxyRule, pool: HttpPool): void {
    new Forwarding(this.options, exchange, rule, pool).begin();
  }
}

/** One exchange on its way through the proxy. */
class Forwarding implements UpstreamCall, ExchangeListener, BodyReader {
  readonly method: string;
  private replica: HttpReplica | undefined;
  private connection: UpstreamConnection | undefined;
  private ticket = 0;
  private sentAt = 0;
  private tried: HttpReplica[] | undefined;
  private attempts = 0;
  /** The attempt is among the replica's requests in flight. */
  private counted = false;
  private entered = false;
  private over = false;
  private whole: Buffer | undefined;
  private pieces: Buffer[] = [];
  private size = 0;
  private readonly streams: boolean;
  private streaming = false;
  /** By the status of the reply, before a filter may have put another one in its place. */
  private hasFailed = false;
  private sink: ReplySink;

  constructor(
    private readonly options: HttpProxyOptions,
    private readonly exchange: Exchange,
    private readonly rule: ProxyRule,
    private readonly pool: HttpPool,
  ) {
    this.method = exchange.method;
    this.streams = rule.body === 'stream' && exchange.hasBody;
    this.sink = exchange;
  }

  begin(): void {
    const { exchange, rule, pool } = this;
    exchange.upstream = pool.name;
    exchange.handled = true;
    exchange.listener = this;
    if (exchange.head.contentLength > rule.bodyLimit) return this.fail(tooLarge(rule.bodyLimit));
    if (rule.totalMs > 0) exchange.totalMs = rule.totalMs;
    // A client that dribbles its body holds no upstream connection meanwhile.
    if (exchange.hasBody && !this.streams) exchange.readBody(this, { withinMs: this.options.jsonBodyMs });
    else this.enter();
  }

  // The body of the request

  onBody(piece: Buffer): void {
    if (this.over) return;
    this.size += piece.byteLength;
    if (this.size > this.rule.bodyLimit) return this.fail(tooLarge(this.rule.bodyLimit));
    if (!this.streams) this.pieces.push(piece);
    else if (!this.connection!.sendBody(piece)) this.exchange.pauseBody();
  }

  onBodyEnd(trailers: HeaderList): void {
    if (this.over) return;
    if (this.streams) {
      this.streaming = false;
      this.connection!.endBody(trailers);
      return;
    }
    const { pieces } = this;
    this.whole = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
    this.pieces = [];
    this.enter();
  }

  onBodyFailed(problem: Problem): void {
    this.fail(problem);
  }

  onUpstreamDrain(): void {
    this.exchange.resumeBody();
  }

  // The way to a replica

  private enter(): void {
    const queued = this.pool.enter();
    if (queued === undefined) {
      this.entered = true;
      return this.attempt();
    }
    queued.then(
      () => {
        if (this.over) return this.pool.leave();
        this.entered = true;
        this.attempt();
      },
      (error) => this.fail(error),
    );
  }

  private attempt(): void {
    const replica = this.pool.choose(this.tried);
    if (!replica) return this.fail(unavailable(`The ${this.pool.name} service`, undefined, 1));
    this.replica = replica;
    this.attempts++;
    this.counted = true;
    this.ticket = replica.begin();
    replica.connections.acquire(this);
  }

  onConnection(connection: UpstreamConnection): void {
    this.connection = connection;
    const { exchange, rule } = this;
    let head = requestHead(exchange, this.replica!.address.host, this.options.names);
    if (this.streams) {
      const declared = exchange.head.contentLength;
      head += declared < 0 ? 'transfer-encoding: chunked\r\n\r\n' : `content-length: ${declared}\r\n\r\n`;
      connection.send(head, undefined, rule.firstByteMs, declared < 0);
      this.streaming = true;
      const { uploadWindowMs: windowMs, uploadBytesPerSecond: bytesPerSecond } = this.options;
      return exchange.readBody(this, { windowMs, bytesPerSecond });
    }
    const bodiless = this.method === 'GET' || this.method === 'HEAD';
    head += bodiless ? '\r\n' : `content-length: ${this.whole?.byteLength ?? 0}\r\n\r\n`;
    this.sentAt = performance.now();
    connection.send(head, this.whole ?? NO_BODY, Math.min(rule.tryMs, rule.firstByteMs));
  }

  /**
   * A replica that stands still must not make a read wait until the time is over: another one is asked, within the
   * retry budget. Where that is used up the request waits on and asks again.
   */
  onLate(): number {
    const { rule } = this;
    const waited = performance.now() - this.sentAt;
    if (waited >= rule.firstByteMs) return 0;
    if (!this.mayAskElsewhere()) return Math.min(ASK_AGAIN_MS, rule.firstByteMs - waited + 1);
    this.askElsewhere('slow', 'cancelled');
    return -1;
  }

  private mayAskElsewhere(): boolean {
    return (
      this.isHarmless() && this.hasAlternative() && this.attempts <= this.rule.retries && this.pool.mayRetry()
    );
  }

  private askElsewhere(kind: string, outcome: Outcome): void {
    this.options.metrics.upstreamFailures.inc({ upstream: this.pool.name, kind });
    this.connection?.abandon();
    this.tried = [...(this.tried ?? []), this.replica!];
    this.leaveReplica(outcome);
    this.attempt();
  }

  private isHarmless(): boolean {
    return (this.method === 'GET' || this.method === 'HEAD') && !this.exchange.hasBody;
  }

  /** Another replica that was not tried. */
  private hasAlternative(): boolean {
    return this.pool.replicas.length > (this.tried?.length ?? 0) + 1;
  }

  // The reply

  onInformation(reply: ResponseHead): void {
    // We have said "continue" ourselves, when the policies let the request in.
    if (reply.status !== 100) this.exchange.inform(reply.status, reply.reason, informationLines(reply));
  }

  onHead(reply: ResponseHead): void {
    const { exchange, options, rule } = this;
    if (reply.status === 101) return this.onMalformed('switched protocols without being asked');
    // One that lacks something for now: another may have it.
    if (reply.status === 503 && this.pool.hasOtherUsable(this.replica!) && this.mayAskElsewhere())
      return this.askElsewhere('unavailable', 'failed-status');
    this.hasFailed = reply.status >= 502 && reply.status <= 504;
    for (const filter of options.filters) this.sink = filter(exchange, rule, reply, this.sink);
    if (reply.status === 429) agreeOnLimit(exchange, reply.headers);
    const { lines, overridden } = replyLines(exchange, reply, options.names);
    const length = reply.chunked ? UNKNOWN_LENGTH : reply.contentLength;
    exchange.startReply(reply.status, reply.reason, lines, length, overridden);
    exchange.owned = this.sink === exchange;
    if (headerOf(reply.headers, 'content-type')?.startsWith('text/event-stream'))
      this.connection!.bePatient();
  }

  onReplyData(piece: Buffer): void {
    this.sink.writeReply(piece);
  }

  onReplyEnd(trailers: HeaderList): void {
    // An upload that nobody waits for any more is not sent on.
    const { connection, streaming } = this;
    if (streaming) this.exchange.stopBody();
    this.finish(this.hasFailed ? 'failed-status' : 'ok');
    if (streaming) connection?.abandon();
    this.sink.endReply(trailers);
  }

  onTurn(): void {
    if (!this.over && !this.sink.flush()) this.connection?.pause();
  }

  onDrain(): void {
    this.connection?.resume();
  }

  // What goes wrong

  onFailure(failure: UpstreamFailure): void {
    const { exchange, pool } = this;
    this.options.metrics.upstreamFailures.inc({ upstream: pool.name, kind: failure.kind });
    this.leaveReplica(outcomeOf(failure));
    if (exchange.replyStarted) {
      this.finish('broken');
      this.sink.cutOff();
    } else if (this.mayRepeat(failure)) {
      this.attempt();
    } else {
      this.fail(problemOf(failure, pool.name));
    }
  }

  private onMalformed(reason: string): void {
    this.options.metrics.upstreamFailures.inc({ upstream: this.pool.name, kind: 'malformed' });
    this.connection?.abandon();
    this.leaveReplica('broken');
    this.fail(new Problem('bad-gateway', undefined, { cause: new Error(reason) }));
  }

  /**
   * Another replica is asked if nothing of the request was sent; else only if repeating it does no harm (RFC 9110,
   * 9.2.2) or the client has made it harmless with an Idempotency-Key, and the retry budget allows. When all were asked
   * it may be one that was asked before: it was only slow, is back, or had closed a kept connection as we took it.
   */
  private mayRepeat(failure: UpstreamFailure): boolean {
    const { exchange, replica, pool, rule } = this;
    if (failure.kind === 'timeout' || failure.kind === 'stalled') return false;
    if (this.streams && (failure.sent || this.size > 0)) return false;
    this.tried = [...(this.tried ?? []), replica!];
    const isAnotherLeft = this.tried.length < pool.replicas.length;
    if (!failure.sent && isAnotherLeft) return true;
    const harmless = this.isHarmless() || exchange.header('idempotency-key') !== undefined;
    if (!harmless || this.attempts > rule.retries || !pool.mayRetry()) return false;
    if (!isAnotherLeft) this.tried = pool.replicas.length > 1 ? [replica!] : [];
    return true;
  }

  onGone(): void {
    this.giveUp('cancelled');
  }

  onTotalTimeout(): void {
    this.options.metrics.upstreamFailures.inc({ upstream: this.pool.name, kind: 'timeout' });
    this.giveUp('timeout');
    if (this.exchange.replyStarted) this.sink.cutOff();
    else this.options.fail(this.exchange, new Problem('upstream-timeout'));
  }

  private fail(error: unknown): void {
    if (this.over) return;
    this.giveUp('cancelled');
    this.exchange.stopBody();
    this.exchange.listener = undefined;
    this.options.fail(this.exchange, error);
  }

  private giveUp(outcome: Outcome): void {
    if (this.over) return;
    this.connection?.abandon();
    if (!this.connection) this.replica?.connections.cancel(this);
    this.finish(outcome);
  }

  private leaveReplica(outcome: Outcome): void {
    this.connection = undefined;
    if (!this.counted) return;
    this.counted = false;
    this.replica!.end(this.ticket, outcome);
  }

  private finish(outcome: Outcome): void {
    if (this.over) return;
    this.over = true;
    this.leaveReplica(outcome);
    if (this.entered) this.pool.leave();
  }
}

/** A request that is late, with no retries left in the budget, asks for one again after so long, in milliseconds. */
const ASK_AGAIN_MS = 500;
const NO_BODY = Buffer.alloc(0);

const tooLarge = (limit: number): Problem => new Problem('too-large', `At most ${limit} bytes.`);

/** What a failed attempt says about its replica. */
export const outcomeOf = ({ kind }: UpstreamFailure): Outcome =>
  kind === 'connect' ? 'connect' : kind === 'timeout' || kind === 'stalled' ? 'timeout' : 'broken';

function problemOf(failure: UpstreamFailure, service: string): Problem {
  if (failure.kind === 'timeout' || failure.kind === 'stalled')
    return new Problem('upstream-timeout', undefined, { cause: failure });
  if (!failure.sent) return unavailable(`The ${service} service`, failure, 1);
  return new Problem(
    'bad-gateway',
    'The connection broke before an answer came. The request may have been carried out.',
    { cause: failure },
  );
}
