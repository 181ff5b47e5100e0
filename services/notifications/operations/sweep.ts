import type { NotificationsContext } from '../context.ts';
import { removeOldNotifications } from '../store/notifications.ts';
import { removeStaleMails } from '../store/waiting-mails.ts';

/** The job: forgets notifications after a year, and mails that waited for an address in vain. */
export async function sweep({ db }: NotificationsContext): Promise<void> {
  await removeOldNotifications(db);
  await removeStaleMails(db);
}
