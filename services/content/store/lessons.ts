import { type Selectable, sql } from 'kysely';
import type { ContentTables, Db } from './tables.ts';

export type LessonRow = Omit<Selectable<ContentTables['lessons']>, 'created_at' | 'updated_at'>;

const COLUMNS = ['id', 'course_id', 'title', 'kind', 'body', 'module', 'position'] as const;

export async function findLesson(db: Db, id: string): Promise<LessonRow | undefined> {
  return await db.selectFrom('lessons').select(COLUMNS).where('id', '=', id).executeTakeFirst();
}

/** In order; `after` is the position of the last one of the page before. */
export async function listLessons(
  db: Db,
  courseId: string,
  after: number,
  limit: number,
): Promise<LessonRow[]> {
  return await db
    .selectFrom('lessons')
    .select(COLUMNS)
    .where('course_id', '=', courseId)
    .where('position', '>', after)
    .orderBy('position')
    .orderBy('id')
    .limit(limit)
    .execute();
}

export async function countLessons(db: Db, courseId: string): Promise<number> {
  const row = await db
    .selectFrom('lessons')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('course_id', '=', courseId)
    .executeTakeFirstOrThrow();
  return Number(row.count);
}

export async function insertLesson(db: Db, lesson: LessonRow): Promise<void> {
  await db.insertInto('lessons').values(lesson).execute();
}

export async function updateLesson(
  db: Db,
  id: string,
  changes: Partial<Pick<LessonRow, 'title' | 'kind' | 'body' | 'module' | 'position'>>,
): Promise<void> {
  await db
    .updateTable('lessons')
    .set({ ...changes, updated_at: new Date() })
    .where('id', '=', id)
    .execute();
}

export async function deleteLesson(db: Db, id: string): Promise<void> {
  await db.deleteFrom('lessons').where('id', '=', id).execute();
}

/** Moves the lessons from `from` to `to` (inclusive; undefined: to the end) by `step`. The course is locked by then. */
export async function shiftLessons(
  db: Db,
  courseId: string,
  from: number,
  to: number | undefined,
  step: 1 | -1,
): Promise<void> {
  await sql`update lessons set position = position + ${step}::int
    where course_id = ${courseId} and position >= ${from}::int and position <= ${to ?? 2_000_000_000}::int`.execute(
    db,
  );
}
