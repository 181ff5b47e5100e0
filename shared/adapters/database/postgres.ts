import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type Kysely,
  type QueryResult,
  sql,
  type TransactionSettings,
} from 'kysely';
import { assertCommitted, beginStatement, kyselyOn, noStreaming } from './dialect.ts';
import { Client, type ClientSettings } from './postgres-pool.ts';
import { type TransactionClient, TransactionClients } from './transaction-clients.ts';
import { changesRows, checkParameters, identifier } from './values.ts';

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
    // At least 2: postgres.js takes `max: 1` as the promise that transactions run on it.
    new PostgresDriver(
      { ...settings, max: Math.max(2, shared) },
      { ...settings, max: Math.max(1, max - shared) },
    ),
  );
}

/** What Kysely holds while it works: the shared client, until a transaction begins on it. */
class Session implements DatabaseConnection {
  own: TransactionClient | undefined;

  constructor(readonly shared: Client) {}

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    checkParameters(query.parameters);
    const prepare = query.parameters.length <= MAX_PREPARED_PARAMETERS;
    const rows = await (this.own ?? this.shared).run<R>(query.sql, query.parameters, prepare);
    return changesRows(rows.command)
      ? { rows: [...rows], numAffectedRows: BigInt(rows.count) }
      : { rows: [...rows] };
  }

  streamQuery = noStreaming;
}

class PostgresDriver implements Driver {
  readonly #shared: Client;
  readonly #clients: TransactionClients;

  constructor(shared: ClientSettings, transactions: ClientSettings) {
    this.#shared = new Client(shared);
    this.#clients = new TransactionClients(transactions);
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<Session> {
    return new Session(this.#shared);
  }

  async beginTransaction(session: Session, settings: TransactionSettings): Promise<void> {
    session.own = await this.#clients.take();
    await session.own.begin(beginStatement(settings));
  }

  async commitTransaction(session: Session): Promise<void> {
    assertCommitted(await session.own?.end('commit'));
  }

  async rollbackTransaction(session: Session): Promise<void> {
    if (session.own?.isOpen) await session.own.end('rollback');
  }

  async releaseConnection(session: Session): Promise<void> {
    if (session.own) this.#clients.give(session.own);
    session.own = undefined;
  }

  async destroy(): Promise<void> {
    await Promise.all([this.#shared.close(), this.#clients.close()]);
  }
}

/**
 * Makes role `lyceum_<service>` with this password and the schema `<service>` that it owns, as an administrator.
 * Can be said again, and by several processes at once; the password is set each time.
 */
export async function preparePostgres(adminUrl: string, service: string, password: string): Promise<void> {
  const name = identifier(service);
  const role = `lyceum_${name}`;
  const admin = openPostgres<Record<string, never>>({ url: adminUrl, max: 2 });
  try {
    await admin.transaction().execute(async (tx) => {
      const run = (statement: string) => sql.raw(statement).execute(tx);
      // Catalogue rows changed by two at once fail with "tuple concurrently updated".
      await sql`select pg_advisory_xact_lock(hashtext('lyceum-prepare'))`.execute(tx);
      const { rows } = await sql<{ password: string; missing: boolean; database: string }>`
        select quote_literal(${password}::text) as password, current_database() as database,
          not exists (select from pg_roles where rolname = ${role}) as missing`.execute(tx);
      const { password: quoted, missing, database } = rows[0]!;
      const db = `"${database.replaceAll('"', '""')}"`;
      await run(`${missing ? 'create' : 'alter'} role ${role} login password ${quoted}`);
      await run(`grant connect on database ${db} to ${role}`);
      // PostgreSQL 16 lets an administrator who is no superuser do this only as a member.
      await run(`grant ${role} to current_user`);
      await run(`create schema if not exists ${name} authorization ${role}`);
      await run(`alter role ${role} in database ${db} set search_path to ${name}`);
      await run(`revoke all on schema public from public`);
      await run(`revoke all on database ${db} from public`);
    });
  } finally {
    await admin.destroy();
  }
}
