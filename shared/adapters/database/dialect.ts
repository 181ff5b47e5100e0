import {
  type Dialect,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
  type TransactionSettings,
} from 'kysely';

/** Kysely on PostgreSQL with a driver of ours. */
export function kyselyOn<S>(driver: Driver): Kysely<S> {
  const dialect: Dialect = {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => driver,
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  };
  return new Kysely<S>({ dialect });
}

/** `begin` with what the caller asked for. */
export function beginStatement({ isolationLevel, accessMode }: TransactionSettings): string {
  return ['begin', isolationLevel && `isolation level ${isolationLevel}`, accessMode]
    .filter(Boolean)
    .join(' ');
}

/** Both drivers read whole results: lists are paged. */
export function noStreaming<R>(): AsyncIterableIterator<QueryResult<R>> {
  throw new Error('Streaming a result is not supported; page through it with a cursor');
}

/**
 * PostgreSQL answers `commit` with ROLLBACK and no error when a statement failed before and its error was
 * swallowed. Nothing was kept, so the caller must hear of it. 25P02 = in_failed_sql_transaction.
 */
export function assertCommitted(command: string | undefined): void {
  if (command !== 'ROLLBACK') return;
  const error = new Error(
    'The transaction was rolled back: a statement in it failed and its error was ignored',
  );
  throw Object.assign(error, { code: '25P02' });
}
