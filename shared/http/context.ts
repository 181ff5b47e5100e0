import type { Kysely } from 'kysely';
import type { Caller } from '../auth/tokens.ts';
import type { EventData, EventName } from '../contracts/events.ts';
import type { KernelTables } from '../db/kernel.ts';
import { transaction } from '../db/transaction.ts';
import { Problem } from '../errors.ts';
import { publishEvent } from '../events/outbox.ts';
import type { Log } from '../observability/log.ts';

/** Where a call came from: kept with sessions, logs and events. */
export interface Origin {
  requestId: string;
  traceparent: string;
  ip: string;
  userAgent: string;
}

/**
 * What an operation works with: the caller, the executor, and how to publish. An operation is
 * `(context, input) → result`; HTTP routes and sockets make the context, tests make their own.
 */
export class Context<S extends KernelTables = KernelTables> {
  constructor(
    /** The database, or inside `transaction` the open transaction. */
    readonly db: Kysely<S>,
    /** The caller, if there is one. Most operations want `caller`. */
    readonly maybeCaller: Caller | undefined,
    readonly origin: Origin,
    readonly log: Log,
    private readonly nudgeOutbox: () => void,
    private readonly hooks: (() => void)[] | undefined = undefined,
  ) {}

  /** The signed-in caller. Throws `unauthenticated` if there is none. */
  get caller(): Caller {
    if (!this.maybeCaller) throw new Problem('unauthenticated');
    return this.maybeCaller;
  }

  /** True for the context that `transaction` gives: what is written commits with the rest of it. */
  get inTransaction(): boolean {
    return this.hooks !== undefined;
  }

  /** Runs `work` in one transaction, joining the one this context is in already. */
  async transaction<T>(work: (context: Context<S>) => Promise<T>): Promise<T> {
    if (this.hooks) return work(this);
    let hooks: (() => void)[] = [];
    const result = await transaction(this.db, (tx) => {
      hooks = []; // a second try after a deadlock starts over
      return work(
        new Context(tx as Kysely<S>, this.maybeCaller, this.origin, this.log, this.nudgeOutbox, hooks),
      );
    });
    this.nudgeOutbox();
    for (const hook of hooks) hook();
    return result;
  }

  /** Writes a domain event to the outbox of the open transaction. */
  async publish<N extends EventName>(name: N, subject: string, data: EventData<N>): Promise<void> {
    if (!this.hooks) throw new Error(`publish ${name} outside a transaction`);
    await publishEvent(this.db as unknown as Kysely<KernelTables>, {
      name,
      actor: this.maybeCaller?.userId ?? 'system',
      subject,
      data,
      traceparent: this.origin.traceparent,
    });
  }

  /** Runs `hook` once the transaction has committed (at once outside one): for what can't be rolled back, such as sockets. */
  afterCommit(hook: () => void): void {
    if (this.hooks) this.hooks.push(hook);
    else hook();
  }
}
