import type { Completion, Progress, ProgressCounts } from '../../../shared/contracts/content.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import type { Context } from '../../../shared/http/context.ts';
import {
  completeCourse,
  completedLessons,
  completeLesson,
  takeCompletionBack,
} from '../store/completions.ts';
import type { CourseRow } from '../store/courses.ts';
import { findEnrolment } from '../store/enrolments.ts';
import { countLessons, findLesson, type LessonRow } from '../store/lessons.ts';
import type { ContentTables } from '../store/tables.ts';
import { readableCourse } from './course-access.ts';

/**
 * Marks a lesson as completed by the caller, who must be enrolled. `lesson.completed` is published the first time
 * only, `course.completed` once for a learner and course. The enrolment's row is held, so that of two lessons
 * completed at once one sees the other and exactly one of them completes the course.
 */
export async function markCompleted(context: Context<ContentTables>, lessonId: string): Promise<Completion> {
  const { userId } = context.caller;
  return await context.transaction(async (tx) => {
    const { lesson, course } = await lessonOfLearner(tx, lessonId);
    const { first, completedAt } = await completeLesson(tx.db, {
      lessonId,
      courseId: course.id,
      userId,
      at: new Date(),
    });
    const progress = await countProgress(tx, course.id);
    if (first) {
      await tx.publish('lesson.completed', lesson.id, { courseId: course.id, lessonId, userId, ...progress });
    }
    if (
      progress.total > 0 &&
      progress.completed === progress.total &&
      (await completeCourse(tx.db, course.id, userId))
    ) {
      await tx.publish('course.completed', course.id, {
        courseId: course.id,
        userId,
        courseTitle: course.title,
      });
    }
    return { lessonId, completedAt: completedAt.toISOString(), progress };
  });
}

/** Takes a completion back. A course once completed stays so. */
export async function unmarkCompleted(
  context: Context<ContentTables>,
  lessonId: string,
): Promise<Completion> {
  return await context.transaction(async (tx) => {
    const { course } = await lessonOfLearner(tx, lessonId);
    await takeCompletionBack(tx.db, lessonId, tx.caller.userId);
    return { lessonId, completedAt: null, progress: await countProgress(tx, course.id) };
  });
}

/** How far the caller is. For those who manage the course: what it looks like at the start. */
export async function readProgress(context: Context<ContentTables>, courseId: string): Promise<Progress> {
  await readableCourse(context, courseId);
  const lessons = await completedLessons(context.db, courseId, context.caller.userId);
  return {
    ...counts(lessons.length, await countLessons(context.db, courseId)),
    lessons: lessons.map((row) => ({ lessonId: row.lesson_id, completedAt: row.completed_at.toISOString() })),
  };
}

async function lessonOfLearner(
  tx: Context<ContentTables>,
  lessonId: string,
): Promise<{ lesson: LessonRow; course: CourseRow }> {
  const lesson = await findLesson(tx.db, lessonId);
  if (!lesson) throw notFound('lesson');
  await findEnrolment(tx.db, lesson.course_id, tx.caller.userId, { lock: true });
  const view = await readableCourse(tx, lesson.course_id).catch((error: unknown) => {
    throw error instanceof Problem && error.code === 'not-found' ? notFound('lesson') : error;
  });
  if (!view.enrolled) throw new Problem('forbidden', 'Enrol in the course first.');
  return { lesson, course: view.course };
}

async function countProgress(tx: Context<ContentTables>, courseId: string): Promise<ProgressCounts> {
  const done = await completedLessons(tx.db, courseId, tx.caller.userId);
  return counts(done.length, await countLessons(tx.db, courseId));
}

/** Percent are whole and rounded down, so that 100 means all. */
const counts = (completed: number, total: number): ProgressCounts => ({
  completed,
  total,
  percent: total === 0 ? 0 : Math.floor((100 * completed) / total),
});
