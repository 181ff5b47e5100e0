import { type Kysely, sql } from 'kysely';
import { EPOCH } from './epoch.ts';
import type { AnalyticsTables } from './tables.ts';

type Db = Kysely<AnalyticsTables>;

interface Place {
  courseId: string;
  userId: string;
}

/** An enrolment at time `at`; one that ended later stays ended. */
export async function beginEnrolment(db: Db, { courseId, userId }: Place, at: Date): Promise<void> {
  await sql`
    insert into enrolments as known (course_id, user_id, enrolled_at, ended_at, changed_at, progress_at)
    values (${courseId}, ${userId}, ${at}, null, ${at}, ${EPOCH})
    on conflict (course_id, user_id) do update set
      enrolled_at = case when known.changed_at <= excluded.changed_at
        then excluded.enrolled_at else coalesce(known.enrolled_at, excluded.enrolled_at) end,
      ended_at = case when known.changed_at <= excluded.changed_at then null else known.ended_at end,
      changed_at = greatest(known.changed_at, excluded.changed_at)`.execute(db);
}

/** The end of an enrolment at time `at`; one that began later goes on. */
export async function endEnrolment(db: Db, { courseId, userId }: Place, at: Date): Promise<void> {
  await sql`
    insert into enrolments as known (course_id, user_id, enrolled_at, ended_at, changed_at, progress_at)
    values (${courseId}, ${userId}, null, ${at}, ${at}, ${EPOCH})
    on conflict (course_id, user_id) do update set ended_at = excluded.ended_at, changed_at = excluded.changed_at
    where known.changed_at <= excluded.changed_at`.execute(db);
}

/** Progress as content counted it at time `at`; of two in the same millisecond the one further on holds. */
export async function putProgress(
  db: Db,
  { courseId, userId }: Place,
  progress: { completed: number; total: number; percent: number },
  at: Date,
): Promise<void> {
  await sql`
    insert into enrolments as known (course_id, user_id, changed_at, completed, total, percent, progress_at)
    values (${courseId}, ${userId}, ${EPOCH}, ${progress.completed}, ${progress.total}, ${progress.percent}, ${at})
    on conflict (course_id, user_id) do update set
      completed = excluded.completed, total = excluded.total, percent = excluded.percent,
      progress_at = excluded.progress_at
    where (known.progress_at, known.completed) <= (excluded.progress_at, excluded.completed)`.execute(db);
}

/** The first completion of the whole course is the one that counts. */
export async function markCompleted(db: Db, { courseId, userId }: Place, at: Date): Promise<void> {
  await sql`
    insert into enrolments as known (course_id, user_id, changed_at, progress_at, completed_at)
    values (${courseId}, ${userId}, ${EPOCH}, ${EPOCH}, ${at})
    on conflict (course_id, user_id) do update set completed_at = least(known.completed_at, excluded.completed_at)`.execute(
    db,
  );
}

export async function isEnrolled(db: Db, { courseId, userId }: Place): Promise<boolean> {
  const row = await db
    .selectFrom('enrolments')
    .select('user_id')
    .where('course_id', '=', courseId)
    .where('user_id', '=', userId)
    .where('enrolled_at', 'is not', null)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  return row !== undefined;
}
