import { type Selectable, sql } from 'kysely';
import { likePattern } from '../../../shared/db/like-pattern.ts';
import type { ContentTables, Db } from './tables.ts';

/** `teacher_name` is the newest name known. */
export type CourseRow = Selectable<ContentTables['courses']>;

const courses = (db: Db) =>
  db
    .selectFrom('courses')
    .leftJoin('people', 'people.user_id', 'courses.teacher_id')
    .select([
      'courses.id',
      'courses.slug',
      'courses.title',
      'courses.summary',
      'courses.language',
      'courses.status',
      'courses.teacher_id',
      'courses.created_at',
      'courses.updated_at',
      sql<string>`coalesce(people.display_name, courses.teacher_name)`.as('teacher_name'),
    ]);

export async function findCourse(db: Db, id: string): Promise<CourseRow | undefined> {
  return await courses(db).where('courses.id', '=', id).executeTakeFirst();
}

/**
 * Holds the course row until the transaction ends: `update` for one change at a time, `share` so that its status
 * stays what it is.
 */
export async function lockCourse(db: Db, id: string, strength: 'update' | 'share'): Promise<void> {
  const row = db.selectFrom('courses').select('id').where('id', '=', id);
  await (strength === 'update' ? row.forUpdate() : row.forShare()).execute();
}

export type NewCourse = Omit<CourseRow, 'created_at' | 'updated_at' | 'status'>;

/** False if the slug is taken. */
export async function insertCourse(db: Db, course: NewCourse): Promise<boolean> {
  const result = await db
    .insertInto('courses')
    .values({ ...course, status: 'draft' })
    .onConflict((conflict) => conflict.column('slug').doNothing())
    .executeTakeFirst();
  return Number(result.numInsertedOrUpdatedRows ?? 0) > 0;
}

export async function updateCourse(
  db: Db,
  id: string,
  changes: Partial<Pick<CourseRow, 'title' | 'summary' | 'language' | 'status'>>,
): Promise<void> {
  await db
    .updateTable('courses')
    .set({ ...changes, updated_at: new Date() })
    .where('id', '=', id)
    .execute();
}

export interface CourseFilter {
  /** Who asks; undefined is anonymous. */
  viewer: { userId: string; teaches: boolean; seesAll: boolean } | undefined;
  q?: string | undefined;
  mine: boolean;
  /** Only courses older than this one. */
  before?: string | undefined;
  limit: number;
}

/** Newest first, only what the viewer may see. */
export async function listCourses(
  db: Db,
  { viewer, q, mine, before, limit }: CourseFilter,
): Promise<CourseRow[]> {
  const userId = viewer?.userId ?? null;
  const taught = viewer?.teaches ? sql<boolean>`courses.teacher_id = ${userId}::uuid` : sql<boolean>`false`;
  const enrolled = sql<boolean>`exists (select 1 from enrolments
    where enrolments.course_id = courses.id and enrolments.user_id = ${userId}::uuid)`;
  let select = courses(db).orderBy('courses.id', 'desc').limit(limit);
  if (!viewer?.seesAll) {
    select = select.where(
      sql<boolean>`(courses.status = 'published' or ${taught} or (courses.status = 'archived' and ${enrolled}))`,
    );
  }
  if (mine) select = select.where(sql<boolean>`(courses.teacher_id = ${userId}::uuid or ${enrolled})`);
  if (q !== undefined) {
    const pattern = likePattern(q);
    select = select.where(sql<boolean>`(courses.title ilike ${pattern} or courses.summary ilike ${pattern})`);
  }
  if (before !== undefined) select = select.where('courses.id', '<', before);
  return await select.execute();
}
