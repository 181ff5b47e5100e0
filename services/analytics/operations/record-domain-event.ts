import { isId } from '../../../shared/ids.ts';
import type { AnalyticsContext } from '../context.ts';
import { insertEvents } from '../store/events.ts';
import { type AnyDomainEvent, applyToProjections } from './apply-to-projections.ts';

/**
 * Records an event of the platform, in the transaction of its inbox row: one row, its rollups, and what reports
 * need to know of it. Of its data only the ids are kept. The person who caused it is its actor; events that no
 * person caused count for the platform alone.
 */
export async function recordDomainEvent(context: AnalyticsContext, event: AnyDomainEvent): Promise<void> {
  const about = event.data as { courseId?: unknown; lessonId?: unknown };
  const inserted = await insertEvents(context.db, 'domain', [
    {
      id: event.id,
      userId: idOrNull(event.actor),
      name: event.name,
      at: new Date(event.at),
      courseId: idOrNull(about.courseId),
      lessonId: idOrNull(about.lessonId),
      data: { subject: event.subject },
    },
  ]);
  if (inserted > 0) await applyToProjections(context.db, event);
}

const idOrNull = (value: unknown): string | null => (typeof value === 'string' && isId(value) ? value : null);
