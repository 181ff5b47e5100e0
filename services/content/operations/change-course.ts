import type { Course } from '../../../shared/contracts/content.ts';
import type { Context } from '../../../shared/http/context.ts';
import { findCourse, updateCourse } from '../store/courses.ts';
import type { ContentTables } from '../store/tables.ts';
import { managedCourse } from './course-access.ts';
import { courseFacts, toCourse } from './representations.ts';

/** Changes what a course says of itself. `check` sees the course as it is, under its lock (If-Match). */
export async function changeCourse(
  context: Context<ContentTables>,
  input: {
    courseId: string;
    changes: { title?: string | undefined; summary?: string | undefined; language?: string | undefined };
    check?: (current: Course) => void;
  },
): Promise<Course> {
  return await context.transaction(async (tx) => {
    const course = await managedCourse(tx, input.courseId, 'update');
    input.check?.(toCourse(course));
    const changes = Object.fromEntries(
      Object.entries(input.changes).filter(
        ([name, value]) => value !== undefined && value !== course[name as keyof typeof input.changes],
      ),
    );
    if (Object.keys(changes).length === 0) return toCourse(course);
    await updateCourse(tx.db, course.id, changes);
    const changed = (await findCourse(tx.db, course.id))!;
    await tx.publish('course.updated', course.id, courseFacts(changed));
    return toCourse(changed);
  });
}

/** Lets everybody find the course. Said again, nothing happens. */
export const publishCourse = (context: Context<ContentTables>, courseId: string): Promise<Course> =>
  setStatus(context, courseId, 'published');

/** Takes the course out of sight of all but those who are in it. Said again, nothing happens. */
export const archiveCourse = (context: Context<ContentTables>, courseId: string): Promise<Course> =>
  setStatus(context, courseId, 'archived');

async function setStatus(
  context: Context<ContentTables>,
  courseId: string,
  status: 'published' | 'archived',
): Promise<Course> {
  return await context.transaction(async (tx) => {
    const course = await managedCourse(tx, courseId, 'update');
    if (course.status === status) return toCourse(course);
    await updateCourse(tx.db, courseId, { status });
    const changed = (await findCourse(tx.db, courseId))!;
    await tx.publish(`course.${status}`, courseId, courseFacts(changed));
    return toCourse(changed);
  });
}
