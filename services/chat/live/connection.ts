import type { z } from 'zod';
import { type Access, enforce } from '../../../shared/auth/access.ts';
import type { Caller, TokenVerifier } from '../../../shared/auth/tokens.ts';
import type { AckError } from '../../../shared/contracts/chat.ts';
import { Problem, toProblem, unavailable } from '../../../shared/errors.ts';
import { validate } from '../../../shared/http/body.ts';
import type { Origin } from '../../../shared/http/context.ts';
import type { Log } from '../../../shared/observability/log.ts';
import type { Metrics } from '../../../shared/observability/metrics.ts';
import { newRequestId, newTraceparent, traceIdOf } from '../../../shared/observability/trace.ts';
import { withDeadline } from '../../../shared/runtime/serve.ts';
import { CLOSE, closeConnection, slimDown } from '../../../shared/runtime/socket-server.ts';
import { type AnySocket, userKey } from './names.ts';

/** Events of one connection: a burst, then so many a second. */
const EVENT_BURST = 120;
const EVENTS_PER_SECOND = 40;
/** Events of one connection that wait for their turn. */
const MOST_WAITING = 500;
/** After its token has expired a connection may still hand over a fresh one for this long. */
const GRACE_MS = 20_000;
/** A process that stops waits so long for what a connection has under way. */
const FINISH_MS = 3_000;

/** One client event: who may send it, what it carries, what it does. */
export interface SocketEvent {
  access: Access;
  schema: z.ZodType;
  /**
   * Resolves with what the acknowledgement has beside `ok: true`. The connection's next event begins then, or when
   * `turn.release` is called.
   */
  handle(connection: Connection, input: unknown, origin: Origin, turn: Turn): Promise<object>;
}

/** For events that have more to do. */
export interface Turn {
  /** Lets the connection's next event begin: this one's place is settled. */
  release(): void;
  /** Acknowledges at once, so that what is sent next comes after it. */
  answer(result: object): void;
}

export interface ConnectionDeps {
  tokens: TokenVerifier;
  log: Log;
  metrics: Metrics;
  limitScale: number;
  /** Called once, when the connection has ended; `reason` as Socket.IO names it. */
  onClosed(connection: Connection, reason: string): void;
}

/** Shared by all sockets: a function of its own for each would be kept for as long as it lives. */
function closed(this: { data: Connection }, reason: string): void {
  this.data.closed(reason);
}

/**
 * One client in one namespace: its caller, its events one after the other (so that what a client sends in order
 * happens in order), its limits and its end. Whatever a client sends, the answer is an acknowledgement.
 */
export class Connection {
  #caller: Caller;
  #token: string;
  /** Settled when the event before has been released. */
  #last: Promise<void> | undefined;
  /** Events that have not been answered. */
  #waiting = 0;
  #finished: (() => void) | undefined;
  #retired = false;
  #tokens: number;
  #refilledAt = performance.now();

  constructor(
    readonly socket: AnySocket,
    private readonly events: ReadonlyMap<unknown, SocketEvent>,
    private readonly deps: ConnectionDeps,
    caller: Caller,
    token: string,
  ) {
    this.#caller = caller;
    this.#token = token;
    this.#tokens = EVENT_BURST * deps.limitScale;
    slimDown(socket as Parameters<typeof slimDown>[0]);
    socket.data = this;
    void socket.join(userKey(caller.userId));
    socket.on('disconnect', closed as () => void);
    // Every packet ends here (`next` is never called), so no event name can reach the socket's own emitter.
    socket.use((packet) => this.#take(packet as unknown[]));
  }

  get caller(): Caller {
    return this.#caller;
  }

  /** Goes on under a fresh token of the same user. Throws what the verifier does, or `forbidden`. */
  async renew(token: string): Promise<{ expiresAt: string }> {
    const caller = await this.deps.tokens.verify(token);
    if (caller.userId !== this.#caller.userId)
      throw new Problem('forbidden', 'The token is of somebody else.');
    this.#caller = caller;
    this.#token = token;
    return { expiresAt: new Date(caller.expiresAt * 1000).toISOString() };
  }

  closed(reason: string): void {
    this.deps.onClosed(this, reason);
  }

  /** Tells the client why, and closes. */
  end(reason: string): void {
    this.socket.emit('session:ended', { reason });
    this.socket.disconnect(true);
  }

  /** Ends the connection if its token has run out and no fresh one was handed over in time. `now` as `Date.now()`. */
  endIfExpired(now: number): void {
    if (now > this.#caller.expiresAt * 1000 + GRACE_MS) this.end('token-expired');
  }

  /** Takes no more events, answers those it has, and closes so that the client connects again elsewhere. */
  async retire(): Promise<void> {
    this.#retired = true;
    const finished = new Promise<void>((resolve) => {
      this.#finished = resolve;
    });
    if (this.#waiting > 0) await withDeadline(finished, FINISH_MS, ignore);
    closeConnection(this.socket, CLOSE.serviceRestart, 'restarting; connect again');
  }

  #take(packet: unknown[]): void {
    const last = packet.at(-1);
    const ack = typeof last === 'function' ? (last as (reply: object) => void) : undefined;
    const [name, ...args] = ack ? packet.slice(0, -1) : packet;
    const refused = this.#refuse();
    if (refused) {
      ack?.(refusal(refused));
      this.#count(name, refused.code, 0);
      return;
    }
    this.#waiting++;
    const before = this.#last;
    const released = Promise.withResolvers<void>();
    this.#last = released.promise;
    void this.#answer(before, name, args, ack, released.resolve).finally(() => {
      released.resolve();
      // Nothing is kept for a connection that rests.
      if (this.#last === released.promise) this.#last = undefined;
    });
  }

  async #answer(
    before: Promise<void> | undefined,
    name: unknown,
    args: unknown[],
    ack: ((reply: object) => void) | undefined,
    release: () => void,
  ): Promise<void> {
    await before;
    await fairTurn();
    const started = performance.now();
    let answered = false;
    const answer = (reply: object) => {
      if (!answered) ack?.(reply);
      answered = true;
    };
    const turn = { release, answer: (result: object) => answer({ ok: true, ...result }) };
    const reply = await this.#run(name, args, turn);
    answer(reply);
    if (--this.#waiting === 0) this.#finished?.();
    this.#count(name, 'error' in reply ? reply.error.code : 'ok', performance.now() - started);
  }

  /** Why an event is not even looked at. */
  #refuse(): Problem | undefined {
    if (this.#retired) return unavailable('This process', undefined, 1);
    const wait = this.#overLimit();
    if (wait === 0) return undefined;
    const detail = 'Too many events on this connection. Slow down.';
    return new Problem('rate-limited', detail, { retryAfter: wait });
  }

  async #run(name: unknown, args: unknown[], turn: Turn): Promise<AckError | { ok: true }> {
    const origin: Origin = {
      requestId: newRequestId(),
      traceparent: newTraceparent(),
      ip: this.#address(),
      userAgent: this.socket.request.headers['user-agent'] ?? '',
    };
    try {
      const event = this.events.get(name);
      if (!event) throw new Problem('not-found', 'There is no such event.');
      if (event.access.token === 'required') await this.#verify();
      enforce(event.access, this.#caller);
      if (args.length > 1) throw new Problem('validation-failed', 'An event carries one object.');
      const input = validate(event.schema, args[0], 'body');
      return { ok: true, ...(await event.handle(this, input, origin, turn)) };
    } catch (error) {
      const problem = toProblem(error);
      if (problem.status >= 500) {
        const cause = problem.cause ?? problem;
        const reason = cause instanceof Error ? (cause.stack ?? String(cause)) : String(cause);
        const { requestId, traceparent } = origin;
        const about = { requestId, traceId: traceIdOf(traceparent), event: String(name), code: problem.code };
        this.deps.log[problem.status === 500 ? 'error' : 'warn']({ ...about, reason }, 'socket event failed');
      }
      return refusal(problem);
    }
  }

  /**
   * The session may have been ended since the last event, on any process. Every process hears of it at once and makes
   * sure twice a second, so only now and then the store is asked.
   */
  async #verify(): Promise<void> {
    try {
      this.#caller = this.deps.tokens.known(this.#token) ?? (await this.deps.tokens.verify(this.#token));
    } catch (error) {
      // An expired token can still be renewed; a session that is over can't.
      if (error instanceof Problem && error.code === 'unauthenticated')
        setImmediate(() => this.end('session-revoked'));
      throw error;
    }
  }

  /** Seconds to wait, or 0. A token bucket of this connection alone, so that it costs no look-up. */
  #overLimit(): number {
    const perSecond = EVENTS_PER_SECOND * this.deps.limitScale;
    const now = performance.now();
    this.#tokens = Math.min(
      EVENT_BURST * this.deps.limitScale,
      this.#tokens + ((now - this.#refilledAt) / 1000) * perSecond,
    );
    this.#refilledAt = now;
    if (this.#waiting >= MOST_WAITING * this.deps.limitScale) return 1;
    if (this.#tokens < 1) return (1 - this.#tokens) / perSecond;
    this.#tokens--;
    return 0;
  }

  #address(): string {
    const forwarded = this.socket.request.headers['x-forwarded-for'];
    const list = Array.isArray(forwarded) ? forwarded.join(',') : forwarded;
    return list?.split(',').at(-1)?.trim() ?? '';
  }

  #count(name: unknown, status: string, ms: number): void {
    const route = this.events.has(name) ? String(name) : 'unknown';
    this.deps.metrics.requests.record(ms / 1000, 'SOCKET', route, status);
  }
}

/** Milliseconds for which events may begin before the event loop gets a turn. */
const TURN_MS = 5;
let turnedAt = 0;
let turn: Promise<void> | undefined;

/**
 * Lets others go first, from time to time. Where the database is in this process, its answers need no turn of the
 * event loop, and one connection's waiting events would run to the last while nobody else is even heard.
 */
function fairTurn(): Promise<void> | undefined {
  if (turn === undefined && performance.now() - turnedAt < TURN_MS) return undefined;
  turn ??= new Promise((resolve) => {
    setImmediate(() => {
      turn = undefined;
      turnedAt = performance.now();
      resolve();
    });
  });
  return turn;
}

const ignore = (): void => {};

export function refusal(problem: Problem): AckError {
  return {
    ok: false,
    error: {
      code: problem.code,
      detail: problem.detail,
      ...(problem.errors ? { errors: problem.errors } : {}),
      ...(problem.retryAfter === undefined ? {} : { retryAfter: Math.max(1, Math.ceil(problem.retryAfter)) }),
    },
  };
}
