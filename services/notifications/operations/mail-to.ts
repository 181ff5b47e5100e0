import type { Kysely } from 'kysely';
import type { MailTables } from '../../../shared/mail/mail-queue.ts';
import { queueMail } from '../../../shared/mail/mail-queue.ts';
import { lockPerson, mailAddress, type Person } from '../store/people.ts';
import type { NotificationsTables } from '../store/tables.ts';
import { addWaitingMail, type MailText, takeWaitingMails } from '../store/waiting-mails.ts';

type Db = Kysely<NotificationsTables>;

/**
 * Queues the mail of a notification, under the notification's id. Events of different queues come in any order:
 * a mail to somebody whose verified address has not arrived waits for it, for an hour.
 */
export async function mailTo(
  db: Db,
  notificationId: string,
  userId: string,
  known: Person | undefined,
  mail: MailText,
): Promise<void> {
  const person = mailAddress(known) ? known : await lockPerson(db, userId);
  const to = mailAddress(person);
  if (to) await queueMail(db as unknown as Kysely<MailTables>, { to, ...mail }, notificationId);
  else if (!person?.disabled && !person?.deleted) await addWaitingMail(db, notificationId, userId, mail);
}

/** Queues the mails that waited for this person's address. Call it with the person locked. */
export async function releaseWaitingMails(db: Db, userId: string): Promise<void> {
  const to = mailAddress(await lockPerson(db, userId));
  if (!to) return;
  for (const { id, mail } of await takeWaitingMails(db, userId)) {
    await queueMail(db as unknown as Kysely<MailTables>, { to, ...mail }, id);
  }
}
