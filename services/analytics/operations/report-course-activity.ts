import {
  type ActivityBucket,
  type ActivityQuery,
  type Bucket,
  MAX_SPAN_DAYS,
} from '../../../shared/contracts/analytics.ts';
import { Problem } from '../../../shared/errors.ts';
import type { AnalyticsContext } from '../context.ts';
import { readActivity } from '../store/course-reports.ts';
import { bucketsBetween, DAY_MS, startOfBucket } from './buckets.ts';
import { requireCourseReader } from './require-course-reader.ts';

const DEFAULT_SPAN_MS = 30 * DAY_MS;
/** PostgreSQL has no year 0 and JavaScript writes years past 9999 otherwise: neither matters to a school. */
const EARLIEST = new Date('2000-01-01T00:00:00Z');
const LATEST = new Date('3000-01-01T00:00:00Z');

/**
 * Events and people of a course by hour, day or week in UTC, from the bucket that holds `from` to the one before
 * `to`, empty ones included. Throws `validation-failed` for a span that is empty or too long, `not-found`, `forbidden`.
 */
export async function reportCourseActivity(
  context: AnalyticsContext,
  courseId: string,
  query: ActivityQuery,
): Promise<{ items: ActivityBucket[] }> {
  await requireCourseReader(context, courseId);
  const { bucket } = query;
  const { from, to } = spanOf(query, bucket);
  const counted = new Map(
    (await readActivity(context.db, courseId, { from, to, bucket })).map((row) => [row.at.getTime(), row]),
  );
  return {
    items: bucketsBetween(from, to, bucket).map((at) => {
      const row = counted.get(at.getTime());
      return { at: at.toISOString(), events: row?.events ?? 0, users: row?.users ?? 0 };
    }),
  };
}

function spanOf(query: ActivityQuery, bucket: Bucket): { from: Date; to: Date } {
  const to = query.to ? new Date(query.to) : new Date();
  const from = query.from ? new Date(query.from) : new Date(to.getTime() - DEFAULT_SPAN_MS);
  if (from < EARLIEST) throw invalid('from', 'must not be before the year 2000');
  if (to > LATEST) throw invalid('to', 'must be before the year 3000');
  if (from >= to) throw invalid('from', 'must be before to');
  if (to.getTime() - from.getTime() > MAX_SPAN_DAYS[bucket] * DAY_MS) {
    throw invalid('from', `must be at most ${MAX_SPAN_DAYS[bucket]} days before to, by ${bucket}`);
  }
  return { from: startOfBucket(from, bucket), to: endOfBucket(to, bucket) };
}

/** Whole buckets only: the one that holds `to` counts to its end, unless `to` is where it begins. */
function endOfBucket(to: Date, bucket: Bucket): Date {
  const last = startOfBucket(new Date(to.getTime() - 1), bucket);
  return bucketsBetween(last, new Date(last.getTime() + 8 * DAY_MS), bucket)[1]!;
}

const invalid = (field: string, message: string): Problem =>
  new Problem('validation-failed', 'The query is not valid.', {
    errors: [{ path: `query.${field}`, message }],
  });
