import { sql } from 'kysely';
import type { Db } from './tables.ts';

export interface EnrolmentRow {
  course_id: string;
  user_id: string;
  display_name: string;
  enrolled_at: Date;
}

export async function findEnrolment(
  db: Db,
  courseId: string,
  userId: string,
  { lock = false } = {},
): Promise<EnrolmentRow | undefined> {
  const row = db
    .selectFrom('enrolments')
    .selectAll()
    .where('course_id', '=', courseId)
    .where('user_id', '=', userId);
  return await (lock ? row.forUpdate() : row).executeTakeFirst();
}

/** True if it is new. */
export async function insertEnrolment(db: Db, enrolment: EnrolmentRow): Promise<boolean> {
  const result = await db
    .insertInto('enrolments')
    .values(enrolment)
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return Number(result.numInsertedOrUpdatedRows ?? 0) > 0;
}

/** The enrolment that was there, if there was one. */
export async function deleteEnrolment(
  db: Db,
  courseId: string,
  userId: string,
): Promise<EnrolmentRow | undefined> {
  return await db
    .deleteFrom('enrolments')
    .where('course_id', '=', courseId)
    .where('user_id', '=', userId)
    .returningAll()
    .executeTakeFirst();
}

/** In the order of user ids; each with the newest name known. */
export async function listEnrolments(
  db: Db,
  courseId: string,
  after: string | undefined,
  limit: number,
): Promise<EnrolmentRow[]> {
  let select = db
    .selectFrom('enrolments')
    .leftJoin('people', 'people.user_id', 'enrolments.user_id')
    .select([
      'enrolments.course_id',
      'enrolments.user_id',
      'enrolments.enrolled_at',
      sql<string>`coalesce(people.display_name, enrolments.display_name)`.as('display_name'),
    ])
    .where('enrolments.course_id', '=', courseId)
    .orderBy('enrolments.user_id')
    .limit(limit);
  if (after !== undefined) select = select.where('enrolments.user_id', '>', after);
  return await select.execute();
}
