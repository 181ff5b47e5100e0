import { EVENT_NAMES } from '../../shared/contracts/events.ts';
import type { Delivery, Handlers } from '../../shared/events/consumer.ts';
import { type ServiceDeps, systemContext } from '../../shared/service.ts';
import type { AnyDomainEvent } from './operations/apply-to-projections.ts';
import { recordDomainEvent } from './operations/record-domain-event.ts';
import type { AnalyticsTables } from './store/tables.ts';

/** Every domain event there is goes the same way. */
export const eventHandlers = (
  deps: ServiceDeps<AnalyticsTables>,
): Handlers<AnalyticsTables, 'analytics.events'> => {
  const record = (event: AnyDomainEvent, delivery: Delivery<AnalyticsTables>) =>
    delivery.once((tx) => recordDomainEvent(systemContext(deps, tx), event));
  return Object.fromEntries(EVENT_NAMES.map((name) => [name, record])) as Handlers<
    AnalyticsTables,
    'analytics.events'
  >;
};
