import { type Kysely, sql } from 'kysely';
import type { Role } from '../../../shared/contracts/common.ts';
import { EPOCH } from './epoch.ts';
import type { AnalyticsTables } from './tables.ts';

type Db = Kysely<AnalyticsTables>;

/** Keeps a name, unless a newer one is known or the person is deleted. */
export async function putName(db: Db, userId: string, name: string, at: Date): Promise<void> {
  await db
    .insertInto('people')
    .values({ ...nobody(userId), display_name: name, named_at: at })
    .onConflict((conflict) =>
      conflict
        .column('user_id')
        .doUpdateSet({ display_name: name, named_at: at })
        .where('people.named_at', '<=', at)
        .where('people.deleted_at', 'is', null),
    )
    .execute();
}

/** Keeps a name that was said in passing: any other is better. */
export async function putNameIfUnknown(db: Db, userId: string, name: string): Promise<void> {
  await db
    .insertInto('people')
    .values({ ...nobody(userId), display_name: name })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export async function putRole(db: Db, userId: string, role: Role, at: Date): Promise<void> {
  await db
    .insertInto('people')
    .values({ ...nobody(userId), role, role_at: at })
    .onConflict((conflict) =>
      conflict.column('user_id').doUpdateSet({ role, role_at: at }).where('people.role_at', '<=', at),
    )
    .execute();
}

/** From now on the person counts as a user. */
export async function markRegistered(db: Db, userId: string, at: Date): Promise<void> {
  await db
    .insertInto('people')
    .values({ ...nobody(userId), registered_at: at })
    .onConflict((conflict) => conflict.column('user_id').doUpdateSet({ registered_at: at }))
    .execute();
}

/** Forgets the name for good and ends what the person was enrolled in. */
export async function markDeleted(db: Db, userId: string, at: Date): Promise<void> {
  await db
    .insertInto('people')
    .values({ ...nobody(userId), deleted_at: at })
    .onConflict((conflict) => conflict.column('user_id').doUpdateSet({ display_name: '', deleted_at: at }))
    .execute();
  await sql`update enrolments set ended_at = ${at}, changed_at = ${at}
    where user_id = ${userId} and ended_at is null`.execute(db);
}

const nobody = (userId: string) => ({
  user_id: userId,
  display_name: '',
  named_at: EPOCH,
  role: null,
  role_at: EPOCH,
  registered_at: null,
  deleted_at: null,
});
