import type { Bucket } from '../../../shared/contracts/analytics.ts';

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
const WEEK_MS = 7 * DAY_MS;

const LENGTH_MS: Record<Bucket, number> = { hour: HOUR_MS, day: DAY_MS, week: WEEK_MS };
/** The epoch was a Thursday; weeks begin on Monday (ISO 8601), three days earlier. */
const OFFSET_MS: Record<Bucket, number> = { hour: 0, day: 0, week: 3 * DAY_MS };

/** Where the bucket that holds `time` begins, in UTC: the same as PostgreSQL's `date_trunc(bucket, time, 'UTC')`. */
export function startOfBucket(time: Date, bucket: Bucket): Date {
  const shifted = time.getTime() + OFFSET_MS[bucket];
  return new Date(Math.floor(shifted / LENGTH_MS[bucket]) * LENGTH_MS[bucket] - OFFSET_MS[bucket]);
}

/** The beginnings of all buckets from `from` (itself one) to before `to`. */
export function bucketsBetween(from: Date, to: Date, bucket: Bucket): Date[] {
  const starts: Date[] = [];
  for (let at = from.getTime(); at < to.getTime(); at += LENGTH_MS[bucket]) starts.push(new Date(at));
  return starts;
}
