import { notFound } from '../../../shared/errors.ts';
import type { NotificationsContext } from '../context.ts';
import * as store from '../store/notifications.ts';

/** Marks one of the caller's notifications as read; again is fine. Throws `not-found` for anybody else's. */
export async function markRead(context: NotificationsContext, notificationId: string): Promise<void> {
  const found = await store.markRead(context.db, context.caller.userId, notificationId);
  if (!found) throw notFound('notification');
}

/** Marks all of the caller's notifications as read. */
export const markAllRead = (context: NotificationsContext): Promise<void> =>
  store.markAllRead(context.db, context.caller.userId);
