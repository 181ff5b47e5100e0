import type { MailOutcome } from '../../../shared/mail/mail-queue.ts';
import type { NotificationsContext } from '../context.ts';
import { findRecipient } from '../store/notifications.ts';

/** Publishes what became of a notification's mail. A mail has the id of its notification. */
export async function reportMail(tx: NotificationsContext, { id, ok, reason }: MailOutcome): Promise<void> {
  const userId = await findRecipient(tx.db, id);
  if (!userId) return; // the account was deleted while its mail was on the way
  const data = { userId, notificationId: id, channel: 'email' as const };
  if (ok) await tx.publish('notification.sent', id, data);
  else await tx.publish('notification.failed', id, { ...data, reason: reason ?? 'unknown' });
}
