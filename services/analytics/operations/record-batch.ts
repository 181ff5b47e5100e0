import { type BatchReceipt, ClientEvent, type EventBatch } from '../../../shared/contracts/analytics.ts';
import { check } from '../../../shared/http/body.ts';
import type { AnalyticsContext } from '../context.ts';
import { insertEvents, type NewEvent } from '../store/events.ts';

const MAX_AHEAD_MS = 5 * 60_000;
const MAX_AGE_MS = 30 * 86_400_000;

/**
 * Records what a signed-in person's client saw. Each event is judged on its own, and counts once per person and
 * id, so that a client may send a batch again until it hears an answer. A course is taken as named: course
 * reports count the events of its members only.
 */
export async function recordBatch(context: AnalyticsContext, batch: EventBatch): Promise<BatchReceipt> {
  const { userId } = context.caller;
  const now = Date.now();
  const valid: NewEvent[] = [];
  const rejected: BatchReceipt['rejected'] = [];
  batch.events.forEach((candidate, index) => {
    const outcome = readEvent(candidate, userId, now);
    if (typeof outcome === 'string') rejected.push({ index, code: 'validation-failed', detail: outcome });
    else valid.push(outcome);
  });
  const accepted = await context.transaction((tx) => insertEvents(tx.db, 'client', valid));
  return { accepted, duplicates: valid.length - accepted, rejected };
}

/** The event, or what is wrong with it. */
function readEvent(candidate: Record<string, unknown>, userId: string, now: number): NewEvent | string {
  const parsed = check(ClientEvent, candidate);
  if (!parsed.success) return [parsed.errors[0]!.path, parsed.errors[0]!.message].filter(Boolean).join(': ');
  const event = parsed.data;
  const at = new Date(event.at);
  if (at.getTime() > now + MAX_AHEAD_MS) return 'at: must be at most 5 minutes in the future';
  if (at.getTime() < now - MAX_AGE_MS) return 'at: must be at most 30 days ago';
  return {
    id: event.id,
    userId,
    name: event.name,
    at,
    courseId: event.courseId ?? null,
    lessonId: event.lessonId ?? null,
    data: event.data ?? null,
  };
}
