import type { CompiledQuery, DatabaseConnection, Driver, Kysely, QueryResult } from 'kysely';
import { unavailable } from '../../errors.ts';
import { assertCommitted, beginStatement, kyselyOn, noStreaming } from './dialect.ts';
import { Client, type ClientSettings } from './postgres-pool.ts';
import { changesRows, checkParameters, identifier } from './values.ts';

/** Milliseconds that a transaction waits for a connection before it is refused. */
const ACQUIRE_MS = 5_000;
/** Longer lists give ever new statement texts; the server would keep a plan for each. */
const MAX_PREPARED_PARAMETERS = 40;

/**
 * A PostgreSQL database through Kysely. Single statements share pipelined connections and are prepared; a
 * transaction has a connection of its own. Nothing is dialled before the first statement. While the server is
 * away, statements reject within 5 s with errors that `isUnavailable` knows; later ones connect again by
 * themselves. A transaction whose connection is lost rejects, and so do its later statements.
 *
 * `schema`: search_path to set when the role has none of its own. `max`: connections in all (default 10, half of
 * them for transactions). `statementTimeoutMs`: the server ends statements after this (default 30 000).
 */
export function openPostgres<S>(options: {
  url: string;
  schema?: string;
  max?: number;
  statementTimeoutMs?: number;
}): Kysely<S> {
  const { max = 10, statementTimeoutMs = 30_000, schema } = options;
  const url = new URL(options.url);
  if (schema !== undefined) url.searchParams.set('search_path', identifier(schema));
  const shared = Math.max(1, Math.floor(max / 2));
  const settings = { url: url.href, statementTimeoutMs };
  return kyselyOn<S>(
    new PostgresDriver({ ...settings, max: shared }, { ...settings, max: Math.max(1, max - shared) }),
  );
}

/**
 * What Kysely holds while it works: the shared client, until a transaction begins on it. (postgres.js's own
 * `reserve` loses a connection for good when its connect fails, and `begin` counts every error as fatal.)
 */
class Session implements DatabaseConnection {
  own: Client | undefined;

  constructor(readonly shared: Client) {}

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    checkParameters(query.parameters);
    const prepare = query.parameters.length <= MAX_PREPARED_PARAMETERS;
    const rows = await (this.own ?? this.shared).run<R>(query.sql, query.parameters, prepare);
    return changesRows(rows.command) ? { rows: [...rows], numAffectedRows: BigInt(rows.count) } : { rows: [...rows] };
  }

  streamQuery = noStreaming;
}

class PostgresDriver implements Driver {
  readonly #shared: Client;
  readonly #transactions: TransactionClients;

  constructor(shared: ClientSettings, transactions: ClientSettings) {
    this.#shared = new Client(shared);
    this.#transactions = new TransactionClients(transactions);
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<Session> {
    return new Session(this.#shared);
  }

  async beginTransaction(session: Session, settings: Parameters<Driver['beginTransaction']>[1]): Promise<void> {
    session.own = await this.#transactions.take();
    await session.own.run(beginStatement(settings), [], true);
    this.#transactions.begun(session.own);
  }

  async commitTransaction(session: Session): Promise<void> {
    const result = await session.own?.run('commit', [], true);
    if (session.own) this.#transactions.ended(session.own);
    assertCommitted(result?.command);
  }

  async rollbackTransaction(session: Session): Promise<void> {
    // A connection that was lost has been rolled back by the server.
    if (!session.own || this.#transactions.isLost(session.own)) return;
    await session.own.run('rollback', [], true);
    this.#transactions.ended(session.own);
  }

  async releaseConnection(session: Session): Promise<void> {
    if (session.own) this.#transactions.give(session.own);
    session.own = undefined;
  }

  async destroy(): Promise<void> {
    await Promise.all([this.#shared.close(), this.#transactions.close()]);
  }
}
