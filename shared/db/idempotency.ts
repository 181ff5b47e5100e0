import type { Kysely } from 'kysely';
import { Problem } from '../errors.ts';
import type { KernelTables } from './kernel.ts';

export interface Reply {
  status: number;
  body: unknown;
}

/**
 * Runs `work` at most once for a key: its effect, and its reply, commit together with the key in `tx`. The same
 * key and body give the first reply again (a concurrent twin waits for it on the primary key); another body
 * throws `idempotency-key-reused`. Failures are not kept, so that a client may try again.
 * Source: the IETF draft "The Idempotency-Key HTTP Header Field".
 */
export async function idempotently(
  tx: Kysely<KernelTables>,
  key: { scope: string; key: string; bodyHash: string },
  work: () => Promise<Reply>,
): Promise<Reply> {
  const claimed = await tx
    .insertInto('idempotency_keys')
    .values({ scope: key.scope, key: key.key, body_hash: key.bodyHash, status: null, reply: null })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  if (!claimed.numInsertedOrUpdatedRows) {
    const first = await tx
      .selectFrom('idempotency_keys')
      .selectAll()
      .where('scope', '=', key.scope)
      .where('key', '=', key.key)
      .executeTakeFirst();
    if (!first)
      throw new Problem('conflict', 'A request with this idempotency key has just failed. Try again.');
    if (first.body_hash !== key.bodyHash) throw new Problem('idempotency-key-reused');
    return { status: first.status ?? 200, body: first.reply };
  }
  const reply = await work();
  await tx
    .updateTable('idempotency_keys')
    .set({ status: reply.status, reply: reply.body as object })
    .where('scope', '=', key.scope)
    .where('key', '=', key.key)
    .execute();
  return reply;
}
