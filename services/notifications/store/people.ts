import { type Selectable, sql } from 'kysely';
import type { Executor } from '../../../shared/db/kernel.ts';
import type { NotificationsTables } from './tables.ts';

type Db = Executor<NotificationsTables>;

export type Person = Selectable<NotificationsTables['people']>;

/** The address that mail may go to, if there is one. */
export const mailAddress = (person: Person | undefined): string | undefined =>
  person?.email && person.verified && !person.disabled && !person.deleted ? person.email : undefined;

/** People by id; those not known are not in the map. */
export async function findPeople(db: Db, userIds: string[]): Promise<Map<string, Person>> {
  if (userIds.length === 0) return new Map();
  const rows = await db.selectFrom('people').selectAll().where('user_id', 'in', userIds).execute();
  return new Map(rows.map((row) => [row.user_id, row]));
}

/**
 * One person, held until the transaction ends and made if absent: a mail that is put aside for an address, and
 * the address that arrives at the same time, then cannot miss each other.
 */
export async function lockPerson(db: Db, userId: string): Promise<Person> {
  await sql`insert into people (user_id) values (${userId}) on conflict do nothing`.execute(db);
  return db
    .selectFrom('people')
    .selectAll()
    .where('user_id', '=', userId)
    .forUpdate()
    .executeTakeFirstOrThrow();
}

export async function setEmail(db: Db, userId: string, email: string, verified: boolean): Promise<void> {
  await db
    .updateTable('people')
    .set({ email, ...(verified ? { verified } : {}) })
    .where('user_id', '=', userId)
    .where('deleted', '=', false)
    .execute();
}

/** Takes a name as of `at`, unless a newer one is known. */
export async function setName(
  db: Db,
  userId: string,
  displayName: string,
  locale: string | null,
  at: string,
): Promise<void> {
  await sql`insert into people (user_id, display_name, locale, name_at) values (${userId}, ${displayName}, ${locale}, ${at})
    on conflict (user_id) do update
    set display_name = excluded.display_name, locale = coalesce(excluded.locale, people.locale), name_at = excluded.name_at
    where people.name_at <= excluded.name_at and not people.deleted`.execute(db);
}

export async function setDisabled(db: Db, userId: string, disabled: boolean, at: string): Promise<void> {
  await sql`insert into people (user_id, disabled, disabled_at) values (${userId}, ${disabled}, ${at})
    on conflict (user_id) do update set disabled = excluded.disabled, disabled_at = excluded.disabled_at
    where people.disabled_at <= excluded.disabled_at`.execute(db);
}

/** Forgets all but the fact that the person is gone. */
export async function erasePerson(db: Db, userId: string): Promise<void> {
  await sql`insert into people (user_id, deleted) values (${userId}, true)
    on conflict (user_id) do update
    set deleted = true, email = null, verified = false, display_name = null, locale = null`.execute(db);
}
