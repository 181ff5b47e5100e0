import type { Context } from '../../shared/http/context.ts';
import type { NotificationsTables } from './store/tables.ts';

export type NotificationsContext = Context<NotificationsTables>;

/** What the operations need beside the context. */
export interface NotificationsTools {
  settings: { publicUrl: string };
}
