import type { Page } from '../../../shared/contracts/common.ts';
import type { Lesson } from '../../../shared/contracts/content.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import type { Context } from '../../../shared/http/context.ts';
import { toPage } from '../../../shared/http/cursor.ts';
import { completedLessons } from '../store/completions.ts';
import { type FileRow, filesOfLessons } from '../store/files.ts';
import { findLesson, type LessonRow, listLessons } from '../store/lessons.ts';
import type { ContentTables } from '../store/tables.ts';
import { type CourseView, readableCourse } from './course-access.ts';
import { positionCursor } from './cursors.ts';
import { toLesson } from './representations.ts';

/** One lesson, for those enrolled and those who manage the course. Throws `not-found` or `forbidden`. */
export async function readLesson(context: Context<ContentTables>, lessonId: string): Promise<Lesson> {
  const lesson = await findLesson(context.db, lessonId);
  if (!lesson) throw notFound('lesson');
  return await presentLesson(context, lesson);
}

/** A lesson as the caller sees it. */
export async function presentLesson(context: Context<ContentTables>, lesson: LessonRow): Promise<Lesson> {
  const view = await readableCourse(context, lesson.course_id).catch((error: unknown) => {
    throw error instanceof Problem && error.code === 'not-found' ? notFound('lesson') : error;
  });
  return (await present(context, view, [lesson]))[0]!;
}

/** The lessons of a course in order. */
export async function findLessons(
  context: Context<ContentTables>,
  courseId: string,
  query: { limit: number; cursor?: string | undefined },
): Promise<Page<Lesson>> {
  const view = await readableCourse(context, courseId);
  const after = positionCursor(query.cursor);
  const rows = await listLessons(context.db, courseId, after, query.limit + 1);
  const shown = new Map(
    (await present(context, view, rows.slice(0, query.limit))).map((lesson) => [lesson.id, lesson]),
  );
  return toPage(
    rows,
    query.limit,
    (row) => [row.position],
    (row) => shown.get(row.id)!,
  );
}

async function present(
  context: Context<ContentTables>,
  view: CourseView,
  rows: LessonRow[],
): Promise<Lesson[]> {
  const files = await filesOfLessons(
    context.db,
    rows.map((row) => row.id),
  );
  const userId = context.caller.userId;
  const completed = view.enrolled
    ? new Set((await completedLessons(context.db, view.course.id, userId)).map((row) => row.lesson_id))
    : undefined;
  const sees = (file: FileRow) =>
    view.manages || file.owner_id === userId || (file.visibility !== 'private' && file.status !== 'rejected');
  return rows.map((row) => toLesson(row, (files.get(row.id) ?? []).filter(sees), completed?.has(row.id)));
}
