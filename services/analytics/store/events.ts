import { type Kysely, sql } from 'kysely';
import type { AnalyticsTables, EventSource } from './tables.ts';

export interface NewEvent {
  id: string;
  /** Null when no person did it. */
  userId: string | null;
  name: string;
  at: Date;
  courseId: string | null;
  lessonId: string | null;
  data: Record<string, unknown> | null;
}

/** Writers of the same hour meet on a row in one of this many cases. */
const SHARDS = 16;

/**
 * Writes events and brings the hourly rollups forward, in one statement: the rollups count exactly the rows that
 * are new, however often and however concurrently an event comes. Returns how many were new. Rows are
 * touched in the order of their keys, so that two batches can't lock each other out.
 */
export async function insertEvents(
  db: Kysely<AnalyticsTables>,
  source: EventSource,
  events: NewEvent[],
): Promise<number> {
  if (events.length === 0) return 0;
  const input = events.map((event) => ({
    id: event.id,
    user_id: event.userId,
    name: event.name,
    at: event.at.toISOString(),
    course_id: event.courseId,
    lesson_id: event.lessonId,
    data: event.data,
  }));
  const shard = Math.floor(Math.random() * SHARDS);
  const { rows } = await sql<{ inserted: number }>`
    with input as (
      select * from jsonb_to_recordset(${input}::jsonb) as row
        (id uuid, user_id uuid, name text, at timestamptz, course_id uuid, lesson_id uuid, data jsonb)
    ), fresh as (
      insert into events (source, id, user_id, name, at, course_id, lesson_id, data)
      select ${source}::text, id, user_id, name, at, course_id, lesson_id, data from input order by user_id, id
      on conflict do nothing
      returning source, user_id, name, at, course_id, date_trunc('hour', at, 'UTC') as hour
    ), counted as (
      select *, case when source = 'domain' and name = 'message.sent' then 1 else 0 end as messages from fresh
    ), of_users as (
      insert into user_activity (user_id, hour, events, messages, last_at)
      select user_id, hour, count(*), sum(messages), max(at) from counted
      where user_id is not null group by user_id, hour order by user_id, hour
      on conflict (user_id, hour) do update set
        events = user_activity.events + excluded.events,
        messages = user_activity.messages + excluded.messages,
        last_at = greatest(user_activity.last_at, excluded.last_at)
    ), of_courses as (
      insert into course_activity (course_id, user_id, hour, events, messages, last_at)
      select course_id, user_id, hour, count(*), sum(messages), max(at) from counted
      where course_id is not null and user_id is not null
      group by course_id, user_id, hour order by course_id, user_id, hour
      on conflict (course_id, user_id, hour) do update set
        events = course_activity.events + excluded.events,
        messages = course_activity.messages + excluded.messages,
        last_at = greatest(course_activity.last_at, excluded.last_at)
    ), totals as (
      insert into event_totals (hour, source, shard, events)
      select hour, source, ${shard}::smallint, count(*) from counted group by hour, source order by hour
      on conflict (hour, source, shard) do update set events = event_totals.events + excluded.events
    )
    select count(*)::int as inserted from fresh`.execute(db);
  return rows[0]!.inserted;
}

/**
 * Takes one message off its author's count. Counts add up in any order, so it does not matter whether the
 * deletion is heard of before the message; it is no activity of the author, hence no event and no time.
 */
export async function uncountMessage(
  db: Kysely<AnalyticsTables>,
  message: { authorId: string; courseId: string | null; at: Date },
): Promise<void> {
  const hour = sql`date_trunc('hour', ${message.at}::timestamptz, 'UTC')`;
  await sql`insert into user_activity (user_id, hour, events, messages, last_at)
    values (${message.authorId}, ${hour}, 0, -1, to_timestamp(0))
    on conflict (user_id, hour) do update set messages = user_activity.messages - 1`.execute(db);
  if (message.courseId === null) return;
  await sql`insert into course_activity (course_id, user_id, hour, events, messages, last_at)
    values (${message.courseId}, ${message.authorId}, ${hour}, 0, -1, to_timestamp(0))
    on conflict (course_id, user_id, hour) do update set messages = course_activity.messages - 1`.execute(db);
}

/** Removes what a person's clients have sent; the rollups keep numbers only. */
export async function deleteClientEvents(db: Kysely<AnalyticsTables>, userId: string): Promise<void> {
  await db.deleteFrom('events').where('source', '=', 'client').where('user_id', '=', userId).execute();
}
