import { AsyncLocalStorage } from 'node:async_hooks';
import type { Kysely, Transaction } from 'kysely';

const open = new AsyncLocalStorage<object>();

/** The transaction this code runs in, if any: lets the one-connection adapter report a misuse instead of hanging. */
export const currentTransaction = (): object | undefined => open.getStore();

/** Serialization failure, deadlock: nothing was kept, and the same work may go well the next time. */
const CONFLICTS: readonly unknown[] = ['40001', '40P01'];

/**
 * Runs `work` in a transaction of `db`; inside one already, it joins it. Serialization failures and deadlocks
 * (PostgreSQL 40001, 40P01) are run again, up to three times.
 */
export async function transaction<S, T>(db: Kysely<S>, work: (tx: Transaction<S>) => Promise<T>): Promise<T> {
  if (db.isTransaction) return work(db as Transaction<S>);
  return tryAgain(() => db.transaction().execute((tx) => open.run(tx, () => work(tx))));
}

/** Runs `work`, which keeps all or nothing, up to three times: after conflicts, and after these codes of PostgreSQL's. */
export async function tryAgain<T>(work: () => Promise<T>, after: readonly string[] = []): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      if (attempt >= 3 || !(CONFLICTS.includes(code) || after.includes(code as string))) throw error;
    }
  }
}
