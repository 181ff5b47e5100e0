import type { MyReport } from '../../../shared/contracts/analytics.ts';
import type { AnalyticsContext } from '../context.ts';
import { readPersonCourses, readPersonDays, readPersonTotals } from '../store/person-reports.ts';
import { bucketsBetween, DAY_MS, startOfBucket } from './buckets.ts';

const MAX_COURSES = 100;
const DAYS = 30;

/** What the caller has done, for the caller's own eyes. */
export async function reportMe({ db, caller: { userId } }: AnalyticsContext): Promise<MyReport> {
  const today = startOfBucket(new Date(), 'day');
  const from = new Date(today.getTime() - (DAYS - 1) * DAY_MS);
  const totals = await readPersonTotals(db, userId);
  const courses = await readPersonCourses(db, userId, MAX_COURSES);
  const days = new Map((await readPersonDays(db, userId, from)).map((day) => [day.at.getTime(), day.events]));
  return {
    userId,
    events: totals.events,
    messages: totals.messages,
    lessonsCompleted: totals.lessons,
    coursesCompleted: totals.courses,
    lastActiveAt: totals.last_active_at?.toISOString() ?? null,
    courses: courses.map((course) => ({
      courseId: course.course_id,
      title: course.title,
      enrolledAt: course.enrolled_at.toISOString(),
      completed: course.completed,
      total: course.total,
      percent: course.percent,
      completedAt: course.completed_at?.toISOString() ?? null,
      lastActiveAt: course.last_active_at?.toISOString() ?? null,
      messages: course.messages,
      events: course.events,
    })),
    activity: bucketsBetween(from, new Date(today.getTime() + 1), 'day').map((at) => ({
      at: at.toISOString(),
      events: days.get(at.getTime()) ?? 0,
    })),
  };
}
