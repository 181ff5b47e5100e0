import { type Kysely, sql } from 'kysely';
import type { PlatformReport } from '../../../shared/contracts/analytics.ts';
import type { AnalyticsTables } from './tables.ts';

export async function readPlatform(db: Kysely<AnalyticsTables>): Promise<PlatformReport> {
  const { rows } = await sql<PlatformReport>`
    select u.*, c.*, e.*, f.*, t.*,
      (select count(distinct user_id)::int from user_activity
        where hour > now() - interval '7 days 1 hour' and last_at > now() - interval '7 days' and events > 0) as active7d,
      (select coalesce(sum(messages), 0)::int from user_activity) as messages
    from
      (select count(*)::int as users,
        count(*) filter (where role = 'learner')::int as learners,
        count(*) filter (where role = 'teacher')::int as teachers,
        count(*) filter (where role = 'admin')::int as administrators
        from people where registered_at is not null and deleted_at is null) u,
      (select count(*)::int as courses,
        count(*) filter (where status = 'published')::int as "coursesPublished" from courses) c,
      (select count(*) filter (where enrolled_at is not null and ended_at is null)::int as enrolments,
        coalesce(sum(completed), 0)::int as "lessonsCompleted",
        count(completed_at) filter (where enrolled_at is not null and ended_at is null)::int as completions
        from enrolments) e,
      (select count(*)::int as files, coalesce(sum(size), 0)::bigint as bytes from files
        where not rejected and not deleted) f,
      (select coalesce(sum(events), 0)::bigint as events,
        coalesce(sum(events) filter (where source = 'client'), 0)::bigint as "clientEvents" from event_totals) t`.execute(
    db,
  );
  return rows[0]!;
}
