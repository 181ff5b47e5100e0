import type { Exchange } from '../exchange.ts';
import type { ResponseHead } from '../http/head.ts';
import type { UpstreamCall, UpstreamConnection, UpstreamFailure } from '../http/upstream-connection.ts';
import { type ForwardingHeaders, requestHead } from '../proxy/headers.ts';
import type { HttpPool, HttpReplica } from '../proxy/http.ts';
import type { Route } from '../routes.ts';
import type { Outcome } from '../upstreams/replica.ts';
import type { Fill } from './fill.ts';

const NO_BODY = new Uint8Array(0);

/**
 * Asks a service for what an exchange has just been given stale, when nobody waits for it: one attempt, bounded by what
 * bounds the route. The exchange is over; it only tells what to ask for.
 */
export class Refresh implements UpstreamCall {
  readonly method = 'GET';
  private replica: HttpReplica | undefined;
  private connection: UpstreamConnection | undefined;
  private ticket = 0;
  private over = false;

  constructor(
    private readonly fill: Fill,
    private readonly exchange: Exchange,
    private readonly rule: Route,
    private readonly pool: HttpPool,
    private readonly names: ForwardingHeaders,
  ) {}

  begin(): void {
    const queued = this.pool.enter();
    if (queued === undefined) return this.attempt();
    queued.then(
      () => this.attempt(),
      () => this.fill.settle('failed'),
    );
  }

  private attempt(): void {
    this.replica = this.pool.choose();
    if (!this.replica) {
      this.pool.leave();
      return this.fill.settle('failed');
    }
    this.ticket = this.replica.begin();
    this.replica.connections.acquire(this);
  }

  onConnection(connection: UpstreamConnection): void {
    this.connection = connection;
    const head = requestHead(this.exchange, this.replica!.address.host, this.names);
    connection.send(`${head}\r\n`, NO_BODY, this.rule.firstByteMs);
  }

  onHead(reply: ResponseHead): void {
    if (reply.status >= 500) {
      this.connection!.abandon();
      return this.finish(reply.status > 500 ? 'failed-status' : 'ok');
    }
    if (this.fill.take(reply) !== 'passed') return;
    this.connection!.abandon();
    this.finish('ok');
  }

  onReplyData(piece: Buffer): void {
    this.fill.add(piece);
    if (this.fill.recording) return;
    this.connection!.abandon();
    this.finish('ok');
  }

  onReplyEnd(): void {
    this.fill.end();
    this.finish('ok');
  }

  onFailure({ kind }: UpstreamFailure): void {
    this.finish(kind === 'connect' ? 'connect' : kind === 'timeout' ? 'timeout' : 'broken');
  }

  private finish(outcome: Outcome): void {
    if (this.over) return;
    this.over = true;
    this.replica!.end(this.ticket, outcome);
    this.pool.leave();
    this.fill.settle('failed');
  }

  onLate(): number {
    return 0;
  }
  onInformation(): void {}
  onTurn(): void {}
  onUpstreamDrain(): void {}
}
