import type { Kysely } from 'kysely';
import type { ChatTables } from './tables.ts';

/** Keeps the newest name: events may come in any order. */
export async function namePerson(
  db: Kysely<ChatTables>,
  userId: string,
  displayName: string,
  at: Date,
): Promise<void> {
  await db
    .insertInto('people')
    .values({ user_id: userId, display_name: displayName, named_at: at })
    .onConflict((conflict) =>
      conflict
        .column('user_id')
        .doUpdateSet({ display_name: displayName, named_at: at })
        .where('people.named_at', '<=', at),
    )
    .execute();
}

const UNKNOWN_TIME = new Date(0);

/** A name heard in passing (a token, an enrolment): good until an event about the person says better. */
export async function nameUnknownPerson(
  db: Kysely<ChatTables>,
  userId: string,
  displayName: string,
): Promise<void> {
  await db
    .insertInto('people')
    .values({ user_id: userId, display_name: displayName, named_at: UNKNOWN_TIME })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Which of the ids belong to somebody. */
export async function knownPeople(db: Kysely<ChatTables>, userIds: string[]): Promise<Set<string>> {
  if (userIds.length === 0) return new Set();
  const rows = await db.selectFrom('people').select('user_id').where('user_id', 'in', userIds).execute();
  return new Set(rows.map((row) => row.user_id));
}
