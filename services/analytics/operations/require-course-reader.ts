import { notFound, Problem } from '../../../shared/errors.ts';
import type { AnalyticsContext } from '../context.ts';
import { findTeacher } from '../store/courses.ts';
import { isEnrolled } from '../store/enrolments.ts';

/**
 * Course reports are for the course's teacher and administrators. Its learners know that it exists and get
 * `forbidden`; to everybody else it is `not-found`.
 */
export async function requireCourseReader({ db, caller }: AnalyticsContext, courseId: string): Promise<void> {
  const teacherId = await findTeacher(db, courseId);
  if (teacherId === undefined) throw notFound('course');
  if (caller.role === 'admin' || caller.userId === teacherId) return;
  if (await isEnrolled(db, { courseId, userId: caller.userId })) {
    throw new Problem('forbidden', 'Reports of a course are for its teacher. Your own is at reports/me.');
  }
  throw notFound('course');
}
