import { databaseReady } from '../../shared/db/ready.ts';
import { mailJob } from '../../shared/mail/mail-queue.ts';
import { type Service, type ServiceDeps, systemContext } from '../../shared/service.ts';
import type { NotificationsTools } from './context.ts';
import { peopleHandlers, triggerHandlers } from './events.ts';
import { notificationRoutes } from './http.ts';
import { migrations } from './migrations/index.ts';
import { reportMail } from './operations/report-mail.ts';
import { sweep } from './operations/sweep.ts';
import type { NotificationsTables } from './store/tables.ts';

const HOUR_MS = 3_600_000;

/** Tells people what concerns them: in a list, live (through chat's sockets) and by mail. */
export async function createNotifications(
  deps: ServiceDeps<NotificationsTables>,
): Promise<Service<NotificationsTables>> {
  const tools: NotificationsTools = { settings: deps.settings };
  return {
    name: 'notifications',
    basePath: '/api/notifications',
    migrations,
    routes: notificationRoutes(),
    consumers: [
      { queue: 'notifications.people', handlers: peopleHandlers(deps) },
      { queue: 'notifications.triggers', handlers: triggerHandlers(deps, tools) },
    ],
    jobs: [
      mailJob({
        db: deps.db,
        mailer: deps.mailer,
        log: deps.log,
        onOutcome: (tx, outcome) => reportMail(systemContext(deps, tx), outcome),
      }),
      { name: 'sweep-notifications', everyMs: HOUR_MS, run: () => sweep(systemContext(deps)) },
    ],
    readiness: { database: () => databaseReady(deps.db), broker: () => deps.bus.ready() },
  };
}
