import type { Notification, NotificationPage } from '../../../shared/contracts/notifications.ts';
import { Problem } from '../../../shared/errors.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import { isId } from '../../../shared/ids.ts';
import type { NotificationsContext } from '../context.ts';
import * as store from '../store/notifications.ts';

/** The caller's notifications, newest first, and how many are unread altogether. */
export async function listNotifications(
  context: NotificationsContext,
  query: { unread?: boolean | undefined; limit: number; cursor?: string | undefined },
): Promise<NotificationPage> {
  const { userId } = context.caller;
  const before = decodeCursor<[string]>(query.cursor, ['id'])?.[0];
  if (before !== undefined && !isId(before))
    throw new Problem('validation-failed', 'The cursor is not valid.');
  const options = { unread: query.unread ?? false, before, limit: query.limit };
  const rows = await store.listNotifications(context.db, userId, options);
  return {
    ...toPage(rows, query.limit, (row) => [row.id], toNotification),
    unreadCount: await store.countUnread(context.db, userId),
  };
}

const toNotification = (row: store.NotificationRow): Notification => ({
  id: row.id,
  kind: row.kind,
  title: row.title,
  body: row.body,
  link: row.link,
  createdAt: row.created_at.toISOString(),
  readAt: row.read_at?.toISOString() ?? null,
});
