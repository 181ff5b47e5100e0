import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import type {
  CompiledQuery,
  DatabaseConnection,
  Driver,
  Kysely,
  QueryResult,
  TransactionSettings,
} from 'kysely';
import { currentTransaction } from '../../db/transaction.ts';
import { unavailable } from '../../errors.ts';
import { lockDataDir } from './data-dir-lock.ts';
import { assertCommitted, beginStatement, kyselyOn, noStreaming } from './dialect.ts';
import { changesRows, checkParameters, identifier, parsers, serializers } from './values.ts';

/** PostgreSQL inside this process, with one schema and role per service as on a real server. */
export interface PgliteServer {
  /** The database as `schema`'s own role sees it; the schema is created if absent. Destroying it leaves the server running. */
  database<S>(schema: string): Promise<Kysely<S>>;
  /** Waits for the transaction in hand, then writes a checkpoint. */
  close(): Promise<void>;
}

/**
 * Opens the cluster in `dataDir`, or one in memory. Throws if another process has it open. After a kill -9 it
 * recovers from its write-ahead log like any PostgreSQL.
 */
export async function openPglite(dataDir: string | undefined): Promise<PgliteServer> {
  const unlock = dataDir === undefined ? () => {} : await lockDataDir(dataDir);
  try {
    const cluster = dataDir === undefined ? undefined : join(dataDir, 'cluster');
    // Our own lock tells whether it is stale; PostgreSQL's can't, as every PGlite believes its pid is 42.
    if (cluster !== undefined) rmSync(join(cluster, 'postmaster.pid'), { force: true });
    const pglite = await PGlite.create({ ...(cluster ? { dataDir: cluster } : {}), parsers, serializers });
    await pglite.exec("set timezone = 'UTC'; revoke all on schema public from public");
    const connection = new SharedConnection(pglite);
    return {
      async database<S>(schema: string): Promise<Kysely<S>> {
        await createSchema(connection, identifier(schema));
        return kyselyOn<S>(new PgliteDriver(connection, schema));
      },
      async close(): Promise<void> {
        await connection.close();
        unlock();
      },
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

async function createSchema(connection: SharedConnection, schema: string): Promise<void> {
  await connection.acquire(undefined);
  try {
    const { rows } = await connection.pglite.query('select 1 from pg_namespace where nspname = $1', [schema]);
    if (rows.length > 0) return;
    await connection.pglite.exec(
      `create role lyceum_${schema} nologin; create schema ${schema} authorization lyceum_${schema}`,
    );
  } finally {
    connection.release();
  }
}

/**
 * PGlite works on this thread and goes on in microtasks, so a long queue for it would keep timers and sockets waiting
 * until it is empty. After so many milliseconds the event loop gets a turn.
 */
const MAX_TURN_MS = 20;

/** The one connection: who holds it, who waits for it, and as which role it last spoke. */
class SharedConnection {
  readonly #waiting: (() => void)[] = [];
  #held = false;
  /** When the event loop last had a turn of its own between two holders. */
  #turnedAt = 0;
  #closed = false;
  #schema: string | undefined;
  /** The transaction that holds the connection, as far as seen: its code is known from its first statement on. */
  #transaction: { code: object | undefined } | undefined;
  /** Transactions that ended; a timer or callback they left behind may use the database again. */
  readonly #ended = new WeakSet<object>();

  constructor(readonly pglite: PGlite) {}

  /** Waits for its turn, then speaks as the role of `schema` (undefined: the superuser). */
  async acquire(schema: string | undefined): Promise<void> {
    this.#refuseDeadlock();
    if (this.#held) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#held = true;
    if (this.#closed) {
      this.release();
      throw unavailable('The database');
    }
    if (schema === this.#schema) return;
    try {
      // `set` is undone by a rollback, so it runs outside of any transaction.
      await this.pglite.exec(
        schema === undefined
          ? 'reset role; reset search_path'
          : `set role lyceum_${schema}; set search_path to ${schema}`,
      );
      this.#schema = schema;
    } catch (error) {
      this.#schema = undefined;
      this.release();
      throw error;
    }
  }

  release(): void {
    const next = this.#waiting.shift();
    if (!next) {
      this.#held = false;
    } else if (performance.now() - this.#turnedAt > MAX_TURN_MS) {
      setImmediate(() => {
        this.#turnedAt = performance.now();
        next();
      });
    } else {
      next();
    }
  }

  /** A transaction that waits for its own connection would wait for ever: say so instead. */
  #refuseDeadlock(): void {
    const code = currentTransaction();
    if (code === undefined || this.#ended.has(code) || this.#transaction === undefined) return;
    if (this.#transaction.code !== undefined && this.#transaction.code !== code) return;
    throw new Error(
      'The database was used inside a transaction without its executor. Pass `tx`, not the outer `db`, to every store function called in a transaction.',
    );
  }

  begin(): void {
    this.#transaction = { code: undefined };
  }

  /** Called with each statement: one of a transaction's own tells which code it belongs to. */
  seen(): void {
    if (this.#transaction !== undefined) this.#transaction.code ??= currentTransaction();
  }

  end(): void {
    if (this.#transaction?.code !== undefined) this.#ended.add(this.#transaction.code);
    this.#transaction = undefined;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await this.acquire(undefined);
    this.#closed = true;
    await this.pglite.close();
    this.release();
  }
}

class PgliteDriver implements Driver {
  constructor(
    readonly connection: SharedConnection,
    readonly schema: string,
  ) {}

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    await this.connection.acquire(this.schema);
    return {
      executeQuery: <R>(query: CompiledQuery) => this.#execute<R>(query),
      streamQuery: noStreaming,
    };
  }

  async #execute<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    checkParameters(query.parameters);
    this.connection.seen();
    const { rows, affectedRows, command } = await this.connection.pglite.query<R>(
      query.sql,
      [...query.parameters],
      {
        parsers,
        serializers,
      },
    );
    return changesRows(command) ? { rows, numAffectedRows: BigInt(affectedRows ?? 0) } : { rows };
  }

  async beginTransaction(_: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    await this.connection.pglite.exec(beginStatement(settings));
    this.connection.begin();
  }

  async commitTransaction(): Promise<void> {
    const [result] = await this.connection.pglite.exec('commit');
    this.connection.end();
    assertCommitted(result?.command);
  }

  async rollbackTransaction(): Promise<void> {
    await this.connection.pglite.exec('rollback');
    this.connection.end();
  }

  async releaseConnection(): Promise<void> {
    this.connection.release();
  }

  async destroy(): Promise<void> {}
}
