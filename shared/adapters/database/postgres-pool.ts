import postgres from 'postgres';
import { isUnavailable, unavailable } from '../../errors.ts';
import { parsers, serializers } from './values.ts';

/** Seconds for TCP connect and authentication together. */
const CONNECT_TIMEOUT_S = 5;
/** Milliseconds for which a failed connect answers for the next statements, so that a crowd doesn't dial. */
const DOWN_MS = 200;
/** What a statement may take longer than the server's own limit before the connection counts as dead. */
const GRACE_MS = 5_000;

export interface ClientSettings {
  url: string;
  max: number;
  /** The server ends a statement after this long; 5 s later we give up on the connection. */
  statementTimeoutMs: number;
}

const types: Record<string, postgres.PostgresType> = {};
for (const key of Object.keys(parsers)) {
  const id = Number(key);
  // postgres.js takes any function, but types them as if every value had one type.
  const parse = parsers[id] as (text: unknown) => unknown;
  const serialize = serializers[id] as (value: unknown) => string;
  types[`oid${key}`] = { to: id, from: [id], parse, serialize };
}

/** A postgres.js client with our values and limits. `onClose` is called when one of its connections is lost. */
function connect({ url, max, statementTimeoutMs }: ClientSettings, onClose?: () => void): postgres.Sql {
  return postgres(url, {
    max,
    types,
    connect_timeout: CONNECT_TIMEOUT_S,
    idle_timeout: 60,
    // It would also end a connection between two statements of a transaction.
    ...(max === 1 ? { max_lifetime: null } : {}),
    // Its wait between attempts, in seconds; the default grows to 20.
    backoff: () => 0.2,
    onnotice: () => {},
    ...(onClose ? { onclose: onClose } : {}),
    connection: {
      TimeZone: 'UTC',
      DateStyle: 'ISO',
      application_name: 'lyceum',
      statement_timeout: statementTimeoutMs,
      idle_in_transaction_session_timeout: 60_000,
    },
  });
}

/**
 * A postgres.js client that is thrown away, with all that waits in it, as soon as the server can't be reached
 * or doesn't answer. Left alone, postgres.js 3.4.9 fails one queued statement per attempt to connect, has no
 * deadline for a statement, and hands the error that ended a connection to the first statement after it too.
 */
export class Client {
  #sql: postgres.Sql | undefined;
  #down: { until: number; error: unknown } | undefined;
  readonly #inHand = new Map<number, number>();
  #sequence = 0;
  #watch: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  constructor(
    readonly settings: ClientSettings,
    readonly onClose?: () => void,
  ) {}

  /** Runs one statement. Rejects with what the driver says, or 503 `upstream-unavailable`. */
  async run<R>(
    text: string,
    parameters: readonly unknown[],
    prepare: boolean,
  ): Promise<postgres.RowList<R[]>> {
    if (this.#closed) throw unavailable('The database');
    if (this.#down !== undefined && performance.now() < this.#down.until)
      throw unavailable('The database', this.#down.error);
    this.#sql ??= connect(this.settings, this.onClose);
    const sql = this.#sql;
    // Type 0: the server says what it expects, as PGlite does; otherwise a boolean for jsonb is refused.
    const typed = parameters.map((value) => sql.typed(value as string, 0));
    // `simple` is its default without parameters, and would return all values as the simple protocol does.
    const options = { prepare, simple: false };
    const ticket = this.#sequence++;
    this.#inHand.set(ticket, performance.now());
    this.#watch ??= setInterval(() => this.#endStuck(), 1_000);
    try {
      return (await sql.unsafe(text, typed, options)) as unknown as postgres.RowList<R[]>;
    } catch (error) {
      if (failedToConnect(error)) {
        this.#down = { until: performance.now() + DOWN_MS, error };
        this.#discard(sql, 0);
      } else if (lostConnection(error)) {
        // What runs on its other connections may end well.
        this.#discard(sql, this.settings.statementTimeoutMs / 1_000);
      }
      throw error;
    } finally {
      this.#inHand.delete(ticket);
      if (this.#inHand.size === 0) {
        clearInterval(this.#watch);
        this.#watch = undefined;
      }
    }
  }

  /** The oldest statement in hand has long been ended by a server that is well: this one is gone or frozen. */
  #endStuck(): void {
    const [oldest] = this.#inHand.values();
    if (oldest === undefined || this.#sql === undefined) return;
    if (performance.now() - oldest > this.settings.statementTimeoutMs + GRACE_MS) this.#discard(this.#sql, 0);
  }

  /** New statements get a new client. Those in the old one have `timeout` seconds, then reject with CONNECTION_DESTROYED. */
  #discard(sql: postgres.Sql, timeout: number): void {
    if (this.#sql === sql) this.#sql = undefined;
    sql.end({ timeout }).catch(() => {});
  }

  /** Drops its connections now, and what runs on them. It can be used again. */
  reset(): void {
    if (this.#sql) this.#discard(this.#sql, 0);
  }

  /** Lets statements in hand finish, for up to 5 s. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#sql?.end({ timeout: 5 });
  }
}

/** A connection that was there broke, or the server is shutting down. */
function lostConnection(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code !== '53300' && isUnavailable(error);
}

/** No connection came about. (A reset may also hit one that was there; then the rest is not long for it either.) */
function failedToConnect(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return (
    lostConnection(error) &&
    !['CONNECTION_CLOSED', 'CONNECTION_DESTROYED', '57P01', '57P02'].includes(String(code))
  );
}
