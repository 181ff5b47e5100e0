import { type Kysely, sql } from 'kysely';
import type { AnalyticsTables } from './tables.ts';

type Db = Kysely<AnalyticsTables>;

export interface PersonTotals {
  events: number;
  messages: number;
  lessons: number;
  courses: number;
  last_active_at: Date | null;
}

export async function readPersonTotals(db: Db, userId: string): Promise<PersonTotals> {
  const { rows } = await sql<PersonTotals>`
    select coalesce(sum(events), 0)::int as events, coalesce(sum(messages), 0)::int as messages,
      max(last_at) filter (where events > 0) as last_active_at,
      (select coalesce(sum(completed), 0)::int from enrolments where user_id = ${userId}) as lessons,
      (select count(completed_at)::int from enrolments where user_id = ${userId}) as courses
    from user_activity where user_id = ${userId}`.execute(db);
  return rows[0]!;
}

/** How far somebody is in a course, and how busy. */
export interface EnrolmentReport {
  enrolled_at: Date;
  completed: number;
  total: number | null;
  percent: number;
  completed_at: Date | null;
  last_active_at: Date | null;
  messages: number;
  events: number;
}

export interface PersonCourse extends EnrolmentReport {
  course_id: string;
  title: string;
}

export async function readPersonCourses(db: Db, userId: string, limit: number): Promise<PersonCourse[]> {
  const { rows } = await sql<PersonCourse>`
    select e.course_id, c.title, e.enrolled_at, e.completed, coalesce(e.total, c.lessons) as total, e.percent,
      e.completed_at, a.last_active_at, coalesce(a.messages, 0)::int as messages, coalesce(a.events, 0)::int as events
    from enrolments e
    join courses c on c.course_id = e.course_id
    left join lateral (
      select sum(messages) as messages, sum(events) as events, max(last_at) filter (where events > 0) as last_active_at
      from course_activity where course_id = e.course_id and user_id = e.user_id
    ) a on true
    where e.user_id = ${userId} and e.enrolled_at is not null and e.ended_at is null
    order by e.enrolled_at desc, e.course_id limit ${limit}`.execute(db);
  return rows;
}

/** Days with events, from `from` (midnight UTC) on. */
export async function readPersonDays(
  db: Db,
  userId: string,
  from: Date,
): Promise<{ at: Date; events: number }[]> {
  const { rows } = await sql<{ at: Date; events: number }>`
    select date_trunc('day', hour, 'UTC') as at, sum(events)::int as events from user_activity
    where user_id = ${userId} and hour >= ${from} and events > 0 group by 1 order by 1`.execute(db);
  return rows;
}
