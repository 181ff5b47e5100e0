import type { Caller } from '../../../shared/auth/tokens.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import type { Context } from '../../../shared/http/context.ts';
import { type CourseRow, findCourse, lockCourse } from '../store/courses.ts';
import { findEnrolment } from '../store/enrolments.ts';
import type { ContentTables } from '../store/tables.ts';

/** A course as one caller stands to it. */
export interface CourseView {
  course: CourseRow;
  /** Its teacher, or an administrator. The role is the token's: a teacher who no longer is one manages nothing. */
  manages: boolean;
  enrolled: boolean;
}

export const manages = (caller: Caller | undefined, course: { teacher_id: string }): boolean =>
  caller?.role === 'admin' || (caller?.role === 'teacher' && caller.userId === course.teacher_id);

/**
 * The course, if the caller may know of it: published ones everybody, archived ones those enrolled, drafts
 * nobody but those who manage it. Throws `not-found`. `lock` holds the row until the transaction ends.
 */
export async function viewCourse(
  context: Context<ContentTables>,
  courseId: string,
  lock?: 'update' | 'share',
): Promise<CourseView> {
  const { db, maybeCaller: caller } = context;
  if (lock) await lockCourse(db, courseId, lock);
  const course = await findCourse(db, courseId);
  if (!course) throw notFound('course');
  const enrolled = caller ? (await findEnrolment(db, courseId, caller.userId)) !== undefined : false;
  const mayManage = manages(caller, course);
  const visible = mayManage || course.status === 'published' || (course.status === 'archived' && enrolled);
  if (!visible) throw notFound('course');
  return { course, manages: mayManage, enrolled };
}

/** The course, if the caller may change it. Throws `not-found` or `forbidden`. */
export async function managedCourse(
  context: Context<ContentTables>,
  courseId: string,
  lock?: 'update' | 'share',
): Promise<CourseRow> {
  const view = await viewCourse(context, courseId, lock);
  if (!view.manages) throw new Problem('forbidden', 'Only the teacher of the course may do this.');
  return view.course;
}

/** The course, if the caller may read what is in it: who is enrolled, and who manages it. */
export async function readableCourse(context: Context<ContentTables>, courseId: string): Promise<CourseView> {
  const view = await viewCourse(context, courseId);
  if (!view.manages && !view.enrolled) throw new Problem('forbidden', 'Enrol in the course first.');
  return view;
}
