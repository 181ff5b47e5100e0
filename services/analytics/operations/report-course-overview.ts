import type { CourseOverview } from '../../../shared/contracts/analytics.ts';
import type { AnalyticsContext } from '../context.ts';
import { readOverview } from '../store/course-reports.ts';
import { requireCourseReader } from './require-course-reader.ts';

/** A course in six figures, about those who are enrolled now. Throws `not-found` or `forbidden`. */
export async function reportCourseOverview(
  context: AnalyticsContext,
  courseId: string,
): Promise<CourseOverview> {
  await requireCourseReader(context, courseId);
  return readOverview(context.db, courseId);
}
