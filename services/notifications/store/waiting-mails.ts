import { sql } from 'kysely';
import type { Executor } from '../../../shared/db/kernel.ts';
import type { Mail } from '../../../shared/ports/mailer.ts';
import type { NotificationsTables } from './tables.ts';

type Db = Executor<NotificationsTables>;

export type MailText = Pick<Mail, 'subject' | 'text' | 'html'>;

/** Puts a mail aside until its receiver's verified address is known. */
export async function addWaitingMail(
  db: Db,
  notificationId: string,
  userId: string,
  mail: MailText,
): Promise<void> {
  await db
    .insertInto('waiting_mails')
    .values({ notification_id: notificationId, user_id: userId, mail })
    .execute();
}

/** Takes what waits for this user out of the table; what is older than an hour is news no more and left out. */
export async function takeWaitingMails(db: Db, userId: string): Promise<{ id: string; mail: MailText }[]> {
  const rows = await db
    .deleteFrom('waiting_mails')
    .where('user_id', '=', userId)
    .where('created_at', '>', sql<Date>`now() - interval '1 hour'`)
    .returning(['notification_id', 'mail'])
    .execute();
  return rows.map((row) => ({ id: row.notification_id, mail: row.mail as MailText }));
}

/** Removes mails whose receiver did not become known within an hour. */
export async function removeStaleMails(db: Db): Promise<void> {
  await sql`delete from waiting_mails where created_at < now() - interval '1 hour'`.execute(db);
}

/** Removes every mail to the user that has not been sent: those that wait, and those in the queue. */
export async function removeMailsOf(db: Db, userId: string): Promise<void> {
  await db.deleteFrom('waiting_mails').where('user_id', '=', userId).execute();
  // A mail has the id of its notification.
  await sql`delete from mail_jobs where sent_at is null and failed_at is null
    and id in (select id from notifications where user_id = ${userId})`.execute(db);
}
