import type { Page } from '../../../shared/contracts/common.ts';
import type { Course } from '../../../shared/contracts/content.ts';
import type { Context } from '../../../shared/http/context.ts';
import { toPage } from '../../../shared/http/cursor.ts';
import { listCourses } from '../store/courses.ts';
import type { ContentTables } from '../store/tables.ts';
import { viewCourse } from './course-access.ts';
import { idCursor } from './cursors.ts';
import { toCourse } from './representations.ts';

/** One course that the caller may know of. */
export async function readCourse(context: Context<ContentTables>, courseId: string): Promise<Course> {
  return toCourse((await viewCourse(context, courseId)).course);
}

/** The courses that the caller may know of, newest first. `mine` needs a caller: those taught or enrolled in. */
export async function findCourses(
  context: Context<ContentTables>,
  query: {
    q?: string | undefined;
    mine?: 'true' | 'false' | undefined;
    limit: number;
    cursor?: string | undefined;
  },
): Promise<Page<Course>> {
  const mine = query.mine === 'true';
  const caller = mine ? context.caller : context.maybeCaller;
  const after = idCursor(query.cursor);
  const rows = await listCourses(context.db, {
    viewer: caller && {
      userId: caller.userId,
      teaches: caller.role === 'teacher',
      seesAll: caller.role === 'admin',
    },
    q: query.q,
    mine,
    before: after,
    limit: query.limit + 1,
  });
  return toPage(rows, query.limit, (row) => [row.id], toCourse);
}
