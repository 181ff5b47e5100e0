import type { LearnerRow } from '../../../shared/contracts/analytics.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { Problem } from '../../../shared/errors.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import { isId } from '../../../shared/ids.ts';
import type { AnalyticsContext } from '../context.ts';
import { readLearners } from '../store/course-reports.ts';
import { requireCourseReader } from './require-course-reader.ts';

/** One row a learner, in the order of enrolment. Throws `not-found` or `forbidden`. */
export async function reportCourseLearners(
  context: AnalyticsContext,
  courseId: string,
  query: { limit: number; cursor?: string | undefined },
): Promise<Page<LearnerRow>> {
  await requireCourseReader(context, courseId);
  const after = readCursor(query.cursor);
  return toPage(
    await readLearners(context.db, courseId, { limit: query.limit + 1, after }),
    query.limit,
    (row) => [row.enrolled_at.getTime(), row.user_id],
    (row) => ({
      userId: row.user_id,
      displayName: row.display_name,
      enrolledAt: row.enrolled_at.toISOString(),
      completed: row.completed,
      total: row.total,
      percent: row.percent,
      completedAt: row.completed_at?.toISOString() ?? null,
      lastActiveAt: row.last_active_at?.toISOString() ?? null,
      messages: row.messages,
      events: row.events,
    }),
  );
}

function readCursor(cursor: string | undefined): { enrolledAt: Date; userId: string } | undefined {
  const key = decodeCursor<[number, string]>(cursor, ['number', 'string']);
  if (!key) return undefined;
  const [time, userId] = key;
  // Written by hand it may hold what the database would refuse.
  if (!isId(userId) || !(time >= 0 && time < 4e13))
    throw new Problem('validation-failed', 'The cursor is not valid.');
  return { enrolledAt: new Date(time), userId };
}
