import { databaseReady } from '../../shared/db/ready.ts';
import type { Service, ServiceDeps } from '../../shared/service.ts';
import { eventHandlers } from './events.ts';
import { analyticsRoutes } from './http.ts';
import { migrations } from './migrations/index.ts';
import type { AnalyticsTables } from './store/tables.ts';

/** Events of clients and of the platform, and reports on them from hourly rollups. */
export async function createAnalytics(deps: ServiceDeps<AnalyticsTables>): Promise<Service<AnalyticsTables>> {
  return {
    name: 'analytics',
    basePath: '/api/analytics',
    migrations,
    routes: analyticsRoutes,
    consumers: [{ queue: 'analytics.events', handlers: eventHandlers(deps), prefetch: 32 }],
    readiness: { database: () => databaseReady(deps.db), broker: () => deps.bus.ready() },
  };
}
