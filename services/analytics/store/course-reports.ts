import { type Kysely, sql } from 'kysely';
import type { EnrolmentReport } from './person-reports.ts';
import type { AnalyticsTables } from './tables.ts';

type Db = Kysely<AnalyticsTables>;

export interface OverviewRow {
  enrolled: number;
  active7d: number;
  completions: number;
  averagePercent: number;
  messages: number;
  files: number;
}

export async function readOverview(db: Db, courseId: string): Promise<OverviewRow> {
  const { rows } = await sql<OverviewRow>`
    with learners as (
      select user_id, percent, completed_at from enrolments
      where course_id = ${courseId} and enrolled_at is not null and ended_at is null
    )
    select
      count(*)::int as enrolled,
      count(completed_at)::int as completions,
      coalesce(round(avg(percent)::numeric, 1), 0)::float8 as "averagePercent",
      count(*) filter (where exists (
        select from course_activity a where a.course_id = ${courseId} and a.user_id = learners.user_id
          and a.events > 0 and a.last_at > now() - interval '7 days'))::int as active7d,
      (select coalesce(sum(messages), 0)::int from course_activity where course_id = ${courseId}) as messages,
      (select count(*)::int from files where course_id = ${courseId} and not rejected and not deleted) as files
    from learners`.execute(db);
  return rows[0]!;
}

/**
 * Events and people by bucket, from `from` (the beginning of one) up to but not including `to`; empty buckets are
 * left out. Counted are the course's teacher and learners while they were enrolled: others may name the course in
 * their events as they like.
 */
export async function readActivity(
  db: Db,
  courseId: string,
  span: { from: Date; to: Date; bucket: 'hour' | 'day' | 'week' },
): Promise<{ at: Date; events: number; users: number }[]> {
  const { rows } = await sql<{ at: Date; events: number; users: number }>`
    select date_trunc(${span.bucket}::text, a.hour, 'UTC') as at,
      sum(a.events)::int as events, count(distinct a.user_id)::int as users
    from course_activity a
    where a.course_id = ${courseId} and a.events > 0 and a.hour >= ${span.from} and a.hour < ${span.to}
      and (exists (select from courses c where c.course_id = a.course_id and c.teacher_id = a.user_id)
        or exists (select from enrolments e where e.course_id = a.course_id and e.user_id = a.user_id
          and e.enrolled_at is not null and (e.ended_at is null or a.hour <= e.ended_at)))
    group by 1 order by 1`.execute(db);
  return rows;
}

export interface LearnerReportRow extends EnrolmentReport {
  user_id: string;
  display_name: string;
}

/** Learners enrolled now, first come first. `after` is the key of the last row of the page before. */
export async function readLearners(
  db: Db,
  courseId: string,
  page: { limit: number; after: { enrolledAt: Date; userId: string } | undefined },
): Promise<LearnerReportRow[]> {
  const after = page.after
    ? sql`and (e.enrolled_at, e.user_id) > (${page.after.enrolledAt}::timestamptz, ${page.after.userId}::uuid)`
    : sql``;
  const { rows } = await sql<LearnerReportRow>`
    select e.user_id, coalesce(p.display_name, '') as display_name, e.enrolled_at, e.completed,
      coalesce(e.total, c.lessons) as total, e.percent, e.completed_at, a.last_active_at,
      coalesce(a.messages, 0)::int as messages, coalesce(a.events, 0)::int as events
    from enrolments e
    left join people p on p.user_id = e.user_id
    left join courses c on c.course_id = e.course_id
    left join lateral (
      select sum(messages) as messages, sum(events) as events, max(last_at) filter (where events > 0) as last_active_at
      from course_activity where course_id = e.course_id and user_id = e.user_id
    ) a on true
    where e.course_id = ${courseId} and e.enrolled_at is not null and e.ended_at is null ${after}
    order by e.enrolled_at, e.user_id limit ${page.limit}`.execute(db);
  return rows;
}
