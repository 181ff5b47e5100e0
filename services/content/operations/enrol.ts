import type { Page } from '../../../shared/contracts/common.ts';
import type { Enrolment, EnrolmentListItem } from '../../../shared/contracts/content.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import type { Context } from '../../../shared/http/context.ts';
import { toPage } from '../../../shared/http/cursor.ts';
import { findCourse } from '../store/courses.ts';
import { deleteEnrolment, findEnrolment, insertEnrolment, listEnrolments } from '../store/enrolments.ts';
import { nameOf } from '../store/people.ts';
import type { ContentTables } from '../store/tables.ts';
import { managedCourse, viewCourse } from './course-access.ts';
import { idCursor } from './cursors.ts';
import { toEnrolment } from './representations.ts';

/**
 * Enrols the caller in a published course. `created` is false if the caller was enrolled before. Throws
 * `not-found`, `forbidden` for the course's own teacher, `conflict` while the course is no published one.
 */
export async function enrol(
  context: Context<ContentTables>,
  courseId: string,
): Promise<{ enrolment: Enrolment; created: boolean }> {
  const { caller } = context;
  return await context.transaction(async (tx) => {
    const { course, enrolled } = await viewCourse(tx, courseId, 'share');
    if (course.teacher_id === caller.userId) {
      throw new Problem('forbidden', 'You teach this course and can not enrol in it.');
    }
    if (!enrolled && course.status !== 'published')
      throw new Problem('conflict', 'The course is not published.');
    const displayName = (await nameOf(tx.db, caller.userId)) ?? caller.name;
    const created = await insertEnrolment(tx.db, {
      course_id: courseId,
      user_id: caller.userId,
      display_name: displayName,
      enrolled_at: new Date(),
    });
    const row = await findEnrolment(tx.db, courseId, caller.userId);
    if (!row) throw new Problem('conflict', 'The enrolment has just been cancelled. Try again.');
    if (created) {
      await tx.publish('enrolment.created', courseId, {
        courseId,
        userId: caller.userId,
        displayName,
        courseTitle: course.title,
        teacherId: course.teacher_id,
      });
    }
    return { enrolment: toEnrolment(row), created };
  });
}

/** Ends the caller's enrolment; what was completed is kept for a return. Throws `not-found` if there is none. */
export async function cancelEnrolment(context: Context<ContentTables>, courseId: string): Promise<void> {
  const { caller } = context;
  await context.transaction(async (tx) => {
    const course = await findCourse(tx.db, courseId);
    const row = course && (await deleteEnrolment(tx.db, courseId, caller.userId));
    if (!course || !row) throw notFound('enrolment');
    await tx.publish('enrolment.cancelled', courseId, {
      courseId,
      userId: caller.userId,
      displayName: (await nameOf(tx.db, caller.userId)) ?? row.display_name,
      courseTitle: course.title,
      teacherId: course.teacher_id,
    });
  });
}

/** Who is enrolled, for those who manage the course. */
export async function findEnrolments(
  context: Context<ContentTables>,
  courseId: string,
  query: { limit: number; cursor?: string | undefined },
): Promise<Page<EnrolmentListItem>> {
  await managedCourse(context, courseId);
  const after = idCursor(query.cursor);
  const rows = await listEnrolments(context.db, courseId, after, query.limit + 1);
  return toPage(
    rows,
    query.limit,
    (row) => [row.user_id],
    (row) => ({ ...toEnrolment(row), displayName: row.display_name }),
  );
}
