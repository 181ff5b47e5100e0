import type { Kysely } from 'kysely';
import type { ChatTables } from './tables.ts';

/** Keeps the newest name and wish about presence: events may come in any order. */
export async function namePerson(
  db: Kysely<ChatTables>,
  userId: string,
  displayName: string,
  at: Date,
  hidesPresence?: boolean,
): Promise<void> {
  const facts = {
    display_name: displayName,
    named_at: at,
    ...(hidesPresence === undefined ? {} : { hides_presence: hidesPresence }),
  };
  await db
    .insertInto('people')
    .values({ user_id: userId, ...facts })
    .onConflict((conflict) =>
      conflict.column('user_id').doUpdateSet(facts).where('people.named_at', '<=', at),
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

/** The same for several: user id → name. */
export async function nameUnknownPeople(
  db: Kysely<ChatTables>,
  names: ReadonlyMap<string, string>,
): Promise<void> {
  if (names.size === 0) return;
  await db
    .insertInto('people')
    .values(
      [...names].map(([userId, name]) => ({ user_id: userId, display_name: name, named_at: UNKNOWN_TIME })),
    )
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** The name that an incoming webhook signs its messages with. */
export async function nameBot(db: Kysely<ChatTables>, botId: string, name: string): Promise<void> {
  await db
    .insertInto('people')
    .values({ user_id: botId, display_name: name, named_at: new Date(), bot: true })
    .execute();
}

/** Whether somebody hides their presence. */
export const hidesPresence = async (db: Kysely<ChatTables>, userId: string): Promise<boolean> =>
  (await hidersAmong(db, [userId])).size > 0;

/** Those of the users who do not want to be seen online. */
export async function hidersAmong(db: Kysely<ChatTables>, userIds: string[]): Promise<Set<string>> {
  if (userIds.length === 0) return new Set();
  const rows = await db
    .selectFrom('people')
    .select('user_id')
    .where('user_id', 'in', userIds)
    .where('hides_presence', '=', true)
    .execute();
  return new Set(rows.map((row) => row.user_id));
}

/** Which of the ids belong to somebody. */
export async function knownPeople(db: Kysely<ChatTables>, userIds: string[]): Promise<Set<string>> {
  if (userIds.length === 0) return new Set();
  const rows = await db
    .selectFrom('people')
    .select('user_id')
    .where('user_id', 'in', userIds)
    .where('bot', '=', false)
    .execute();
  return new Set(rows.map((row) => row.user_id));
}
