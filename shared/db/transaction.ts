import { AsyncLocalStorage } from 'node:async_hooks';
import type { Kysely, Transaction } from 'kysely';

const open = new AsyncLocalStorage<object>();

/** The transaction this code runs in, if any: lets the one-connection adapter report a misuse instead of hanging. */
export const currentTransaction = (): object | undefined => open.getStore();

/**
 * Runs `work` in a transaction of `db`; inside one already, it joins it. Serialization failures and deadlocks
 * (PostgreSQL 40001, 40P01) are run again, up to three times.
 */
export async function transaction<S, T>(db: Kysely<S>, work: (tx: Transaction<S>) => Promise<T>): Promise<T> {
  if (db.isTransaction) return work(db as Transaction<S>);
  for (let attempt = 1; ; attempt++) {
    try {
      return await db.transaction().execute((tx) => open.run(tx, () => work(tx)));
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      if (attempt >= 3 || (code !== '40001' && code !== '40P01')) throw error;
    }
  }
}
