import { Problem, unavailable } from '../../shared/errors.ts';
import type { Wire } from '../../shared/runtime/tcp.ts';
import type { Exchange } from '../exchange.ts';
import type { ResponseHead } from '../http/head.ts';
import type { UpstreamCall, UpstreamConnection, UpstreamFailure } from '../http/upstream-connection.ts';
import { type ForwardingHeaders, requestHead } from './headers.ts';
import { type HttpPool, type HttpReplica, outcomeOf } from './http.ts';

/** Of the upstream's reply, what the client needs to finish the handshake. */
const ANSWER = new Set([
  'sec-websocket-accept',
  'sec-websocket-protocol',
  'sec-websocket-extensions',
  'set-cookie',
]);

const NO_BODY = new Uint8Array(0);
/** A replica that says nothing for so long is left for another one, in milliseconds. */
const TRY_MS = 3_000;

export interface Dialled {
  wire: Wire;
  /** Counts as in flight there until it is released. */
  replica: HttpReplica;
  /** Header lines for the client. */
  lines: string;
  /** Bytes that came right behind the head. */
  rest: Buffer | undefined;
}

/**
 * Opens a WebSocket to the first replica that answers, with the client's own key, so that the upstream's accept hash
 * and the extensions it chose hold end to end. Throws `upstream-unavailable` if none takes it, `validation-failed`
 * if what the client asks for is refused. `exchange.gone` ends it.
 */
export async function dialWebSocket(
  exchange: Exchange,
  pool: HttpPool,
  names: ForwardingHeaders,
  timeoutMs: number,
): Promise<Dialled> {
  exchange.upstream = pool.name;
  const tried: HttpReplica[] = [];
  let last: unknown;
  for (
    let replica = pool.choose(tried, true);
    replica && !exchange.gone;
    replica = pool.choose(tried, true)
  ) {
    tried.push(replica);
    const ticket = replica.begin();
    const isLast = tried.length >= pool.replicas.length;
    const handshake = new Handshake(
      exchange,
      replica,
      names,
      isLast ? timeoutMs : Math.min(timeoutMs, TRY_MS),
    );
    exchange.listener = handshake;
    try {
      const { reply, connection } = await handshake.answered;
      if (reply.status >= 500) {
        replica.end(ticket, 'failed-status');
        last = new Error(`the handshake was answered with ${reply.status}`);
        continue;
      }
      replica.end(ticket, 'ok');
      if (!connection)
        throw new Problem(
          'validation-failed',
          `The ${pool.name} service refused the handshake (${reply.status}).`,
        );
      const { wire, rest } = connection.detach();
      replica.hold();
      return { wire, replica, lines: linesOf(reply), rest };
    } catch (error) {
      if (error instanceof Problem) throw error;
      const failure = error as UpstreamFailure;
      // Late is not yet broken.
      const says =
        exchange.gone || (failure.kind === 'timeout' && !isLast) ? 'cancelled' : outcomeOf(failure);
      replica.end(ticket, says);
      last = error;
    }
  }
  throw unavailable(`The ${pool.name} service`, last, 1);
}

class Handshake implements UpstreamCall {
  readonly method = 'GET';
  readonly answered: Promise<{ reply: ResponseHead; connection: UpstreamConnection | undefined }>;
  private connection: UpstreamConnection | undefined;
  private resolve!: (value: { reply: ResponseHead; connection: UpstreamConnection | undefined }) => void;
  private reject!: (reason: unknown) => void;

  constructor(
    private readonly exchange: Exchange,
    private readonly replica: HttpReplica,
    private readonly names: ForwardingHeaders,
    private readonly timeoutMs: number,
  ) {
    this.answered = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    replica.connections.acquire(this);
  }

  onConnection(connection: UpstreamConnection): void {
    this.connection = connection;
    const head = requestHead(this.exchange, this.replica.address.host, this.names);
    connection.send(`${head}connection: Upgrade\r\nupgrade: websocket\r\n\r\n`, NO_BODY, this.timeoutMs);
  }

  onHead(reply: ResponseHead): void {
    if (reply.status === 101) return this.resolve({ reply, connection: this.connection });
    // What it says in its body is of no use to a WebSocket client.
    this.connection?.abandon();
    this.resolve({ reply, connection: undefined });
  }

  onFailure(failure: UpstreamFailure): void {
    this.reject(failure);
  }

  onGone(): void {
    if (this.connection) this.connection.abandon();
    else this.replica.connections.cancel(this);
    this.reject(new Error('the client is gone'));
  }

  onLate(): number {
    return 0;
  }
  onInformation(): void {}
  onReplyData(): void {}
  onReplyEnd(): void {}
  onTurn(): void {}
  onUpstreamDrain(): void {}
  onDrain(): void {}
  onTotalTimeout(): void {}
}

function linesOf(reply: ResponseHead): string {
  let lines = '';
  for (let index = 0; index < reply.headers.length; index += 2)
    if (ANSWER.has(reply.headers[index]!))
      lines += `${reply.headers[index]}: ${reply.headers[index + 1]}\r\n`;
  return lines;
}
