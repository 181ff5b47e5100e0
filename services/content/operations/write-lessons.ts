import type { Lesson, LessonKind } from '../../../shared/contracts/content.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import type { Context } from '../../../shared/http/context.ts';
import { newId } from '../../../shared/ids.ts';
import type { CourseRow } from '../store/courses.ts';
import { filesOfLessons, findFiles, setLessonFiles } from '../store/files.ts';
import {
  countLessons,
  deleteLesson,
  findLesson,
  insertLesson,
  type LessonRow,
  shiftLessons,
  updateLesson,
} from '../store/lessons.ts';
import type { ContentTables } from '../store/tables.ts';
import { managedCourse } from './course-access.ts';
import { presentLesson } from './read-lessons.ts';

/**
 * Positions count from 1 without gaps. Every change of a course's lessons holds the course's row, so that two
 * changes at once can't make a gap or a twin.
 */

export interface LessonInput {
  title?: string | undefined;
  kind?: LessonKind | undefined;
  body?: string | undefined;
  fileIds?: string[] | undefined;
  module?: string | null | undefined;
  position?: number | undefined;
}

/** Adds a lesson, at the end unless `position` says otherwise; those behind it move up. */
export async function addLesson(
  context: Context<ContentTables>,
  courseId: string,
  input: LessonInput & { title: string; kind: LessonKind },
): Promise<Lesson> {
  return await context.transaction(async (tx) => {
    const course = await managedCourse(tx, courseId, 'update');
    const count = await countLessons(tx.db, courseId);
    const lesson: LessonRow = {
      id: newId(),
      course_id: courseId,
      title: input.title,
      kind: input.kind,
      body: input.body ?? '',
      module: input.module ?? null,
      position: clamp(input.position ?? count + 1, count + 1),
    };
    await checkFiles(tx, course, input.fileIds ?? [], []);
    await shiftLessons(tx.db, courseId, lesson.position, undefined, 1);
    await insertLesson(tx.db, lesson);
    await setLessonFiles(tx.db, lesson.id, input.fileIds ?? []);
    return await presentLesson(tx, lesson);
  });
}

/** Changes a lesson; `position` moves it and closes the gap. `check` sees it as it is, under the lock (If-Match). */
export async function changeLesson(
  context: Context<ContentTables>,
  input: { lessonId: string; changes: LessonInput; check?: (current: Lesson) => void },
): Promise<Lesson> {
  return await context.transaction(async (tx) => {
    const { lesson, course } = await lockedLesson(tx, input.lessonId);
    input.check?.(await presentLesson(tx, lesson));
    const { fileIds, position, ...texts } = input.changes;
    const to =
      position === undefined ? lesson.position : clamp(position, await countLessons(tx.db, course.id));
    if (to > lesson.position) await shiftLessons(tx.db, course.id, lesson.position + 1, to, -1);
    if (to < lesson.position) await shiftLessons(tx.db, course.id, to, lesson.position - 1, 1);
    const changes = Object.fromEntries(Object.entries(texts).filter(([, value]) => value !== undefined));
    await updateLesson(tx.db, lesson.id, { ...changes, position: to });
    if (fileIds) {
      const attached = (await filesOfLessons(tx.db, [lesson.id])).get(lesson.id) ?? [];
      await checkFiles(
        tx,
        course,
        fileIds,
        attached.map((file) => file.id),
      );
      await setLessonFiles(tx.db, lesson.id, fileIds);
    }
    return await presentLesson(tx, (await findLesson(tx.db, lesson.id))!);
  });
}

/** Removes a lesson with the completions of it; its files stay. */
export async function removeLesson(
  context: Context<ContentTables>,
  input: { lessonId: string; check?: (current: Lesson) => void },
): Promise<void> {
  await context.transaction(async (tx) => {
    const { lesson, course } = await lockedLesson(tx, input.lessonId);
    input.check?.(await presentLesson(tx, lesson));
    await deleteLesson(tx.db, lesson.id);
    await shiftLessons(tx.db, course.id, lesson.position + 1, undefined, -1);
  });
}

async function lockedLesson(
  tx: Context<ContentTables>,
  lessonId: string,
): Promise<{ lesson: LessonRow; course: CourseRow }> {
  const found = await findLesson(tx.db, lessonId);
  if (!found) throw notFound('lesson');
  const course = await managedCourse(tx, found.course_id, 'update').catch((error: unknown) => {
    throw error instanceof Problem && error.code === 'not-found' ? notFound('lesson') : error;
  });
  // Again under the lock: it may have moved, or gone, while this waited.
  const lesson = await findLesson(tx.db, lessonId);
  if (!lesson) throw notFound('lesson');
  return { lesson, course };
}

const clamp = (position: number, max: number): number => Math.max(1, Math.min(position, Math.max(1, max)));

/** Files of a lesson are files of the course, or the caller's own; those attached already may stay. */
async function checkFiles(
  tx: Context<ContentTables>,
  course: CourseRow,
  fileIds: string[],
  attached: string[],
): Promise<void> {
  const files = new Map((await findFiles(tx.db, fileIds)).map((file) => [file.id, file]));
  const errors = fileIds.flatMap((id, index) => {
    const file = files.get(id);
    const fine =
      file &&
      (attached.includes(id) ||
        file.course_id === course.id ||
        (file.course_id === null && [tx.caller.userId, course.teacher_id].includes(file.owner_id)));
    return fine ? [] : [{ path: `body.fileIds.${index}`, message: 'not a file of this course' }];
  });
  if (errors.length > 0) throw new Problem('validation-failed', 'The body is not valid.', { errors });
}
