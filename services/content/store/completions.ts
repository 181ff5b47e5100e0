import { sql } from 'kysely';
import type { Db } from './tables.ts';

/** Marks a lesson as completed. `first` is true the first time ever; said again, the time stays. */
export async function completeLesson(
  db: Db,
  completion: { lessonId: string; courseId: string; userId: string; at: Date },
): Promise<{ first: boolean; completedAt: Date }> {
  const { lessonId, courseId, userId, at } = completion;
  const inserted = await db
    .insertInto('lesson_completions')
    .values({ lesson_id: lessonId, course_id: courseId, user_id: userId, completed_at: at })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  if (Number(inserted.numInsertedOrUpdatedRows ?? 0) > 0) return { first: true, completedAt: at };
  const row = await db
    .updateTable('lesson_completions')
    .set({ completed_at: sql<Date>`coalesce(completed_at, ${at})` })
    .where('lesson_id', '=', lessonId)
    .where('user_id', '=', userId)
    .returning('completed_at')
    .executeTakeFirstOrThrow();
  return { first: false, completedAt: row.completed_at ?? at };
}

export async function takeCompletionBack(db: Db, lessonId: string, userId: string): Promise<void> {
  await db
    .updateTable('lesson_completions')
    .set({ completed_at: null })
    .where('lesson_id', '=', lessonId)
    .where('user_id', '=', userId)
    .execute();
}

/** True the first time that this learner completes this course. */
export async function completeCourse(db: Db, courseId: string, userId: string): Promise<boolean> {
  const result = await db
    .insertInto('course_completions')
    .values({ course_id: courseId, user_id: userId })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return Number(result.numInsertedOrUpdatedRows ?? 0) > 0;
}

export interface CompletedLesson {
  lesson_id: string;
  completed_at: Date;
}

/** In the order of the lessons. */
export async function completedLessons(db: Db, courseId: string, userId: string): Promise<CompletedLesson[]> {
  const rows = await db
    .selectFrom('lesson_completions')
    .innerJoin('lessons', 'lessons.id', 'lesson_completions.lesson_id')
    .select(['lesson_completions.lesson_id', 'lesson_completions.completed_at'])
    .where('lesson_completions.course_id', '=', courseId)
    .where('lesson_completions.user_id', '=', userId)
    .where('lesson_completions.completed_at', 'is not', null)
    .orderBy('lessons.position')
    .execute();
  return rows.map((row) => ({ lesson_id: row.lesson_id, completed_at: row.completed_at as Date }));
}
