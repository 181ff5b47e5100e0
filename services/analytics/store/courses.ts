import type { Kysely } from 'kysely';
import { EPOCH } from './epoch.ts';
import type { AnalyticsTables } from './tables.ts';

type Db = Kysely<AnalyticsTables>;

export interface CourseFacts {
  courseId: string;
  title: string;
  status: 'draft' | 'published' | 'archived';
  teacherId: string;
}

/** Keeps what an event of time `at` says about a course, unless something newer is known. */
export async function putCourse(db: Db, course: CourseFacts, at: Date): Promise<void> {
  const facts = { title: course.title, status: course.status, teacher_id: course.teacherId, changed_at: at };
  await db
    .insertInto('courses')
    .values({ course_id: course.courseId, ...facts, lessons: null, lessons_at: EPOCH })
    .onConflict((conflict) =>
      conflict.column('course_id').doUpdateSet(facts).where('courses.changed_at', '<=', at),
    )
    .execute();
}

/** For a course that is heard of before its own events are. */
export const putCourseIfUnknown = (db: Db, course: CourseFacts): Promise<void> =>
  putCourse(db, course, EPOCH);

export async function putLessonCount(db: Db, courseId: string, lessons: number, at: Date): Promise<void> {
  await db
    .updateTable('courses')
    .set({ lessons, lessons_at: at })
    .where('course_id', '=', courseId)
    .where('lessons_at', '<=', at)
    .execute();
}

export async function findTeacher(db: Db, courseId: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('courses')
    .select('teacher_id')
    .where('course_id', '=', courseId)
    .executeTakeFirst();
  return row?.teacher_id;
}
