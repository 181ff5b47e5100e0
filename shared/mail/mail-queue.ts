import type { Generated } from 'kysely';
import { type Kysely, sql } from 'kysely';
import type { KernelTables, Migration } from '../db/kernel.ts';
import { newId } from '../ids.ts';
import type { Job } from '../jobs.ts';
import type { Log } from '../observability/log.ts';
import type { Mail, Mailer } from '../ports/mailer.ts';

/** Mail to be sent, written in the transaction that decides it: a service that mails has this table. */
export interface MailTables extends KernelTables {
  mail_jobs: {
    id: string;
    mail: unknown;
    attempts: Generated<number>;
    due_at: Generated<Date>;
    sent_at: Date | null;
    failed_at: Date | null;
    created_at: Generated<Date>;
  };
}

export const mailMigration: Migration = {
  name: '001-mail',
  statements: [
    `create table mail_jobs (
      id uuid primary key,
      mail jsonb not null,
      attempts int not null default 0,
      due_at timestamptz not null default now(),
      sent_at timestamptz,
      failed_at timestamptz,
      created_at timestamptz not null default now()
    )`,
    'create index mail_jobs_due on mail_jobs (due_at) where sent_at is null and failed_at is null',
  ],
};

/** Queues a mail in `tx`. Its id is the mail's idempotency key (Message-ID), so a repeat can be known by the receiver. */
export async function queueMail(
  tx: Kysely<MailTables>,
  mail: Omit<Mail, 'idempotencyKey'>,
  id = newId(),
): Promise<string> {
  await tx
    .insertInto('mail_jobs')
    .values({ id, mail, sent_at: null, failed_at: null })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  return id;
}

const CLAIM_SECONDS = 60;
const MAX_ATTEMPTS = 12;

export interface MailOutcome {
  id: string;
  ok: boolean;
  reason?: string;
}

/**
 * The job that sends what is queued: claims with `skip locked`, sends, marks. A failure is tried again with growing
 * pauses (1 s to 10 min, 12 attempts, about an hour). `onOutcome` runs in the transaction that marks the mail.
 */
export function mailJob<S extends MailTables>(options: {
  db: Kysely<S>;
  mailer: Mailer;
  log: Log;
  onOutcome?: (tx: Kysely<S>, outcome: MailOutcome) => Promise<void>;
}): Job {
  const db = options.db as unknown as Kysely<MailTables>;

  const mark = (outcome: MailOutcome) =>
    db.transaction().execute(async (tx) => {
      await tx
        .updateTable('mail_jobs')
        // A mail that has been sent keeps no text: links in it are secrets.
        .set(outcome.ok ? { sent_at: new Date(), mail: {} } : { failed_at: new Date(), mail: {} })
        .where('id', '=', outcome.id)
        .execute();
      await options.onOutcome?.(tx as unknown as Kysely<S>, outcome);
    });

  const sendOne = async (row: { id: string; mail: Omit<Mail, 'idempotencyKey'>; attempts: number }) => {
    try {
      await options.mailer.send({ ...row.mail, idempotencyKey: row.id });
      await mark({ id: row.id, ok: true });
    } catch (error) {
      options.log.warn({ mailId: row.id, attempts: row.attempts, reason: String(error) }, 'mail not sent');
      if (row.attempts >= MAX_ATTEMPTS) return mark({ id: row.id, ok: false, reason: String(error) });
      await sql`update mail_jobs set due_at = now() + least(600, power(2, ${row.attempts}::int - 1)) * interval '1 second'
        where id = ${row.id}`.execute(db);
    }
  };

  return {
    name: 'send-mail',
    everyMs: 300,
    async run() {
      const { rows } = await sql<{ id: string; mail: Omit<Mail, 'idempotencyKey'>; attempts: number }>`
        update mail_jobs set due_at = now() + ${CLAIM_SECONDS} * interval '1 second', attempts = attempts + 1
        where id in (
          select id from mail_jobs where sent_at is null and failed_at is null and due_at <= now()
          order by due_at limit 10 for update skip locked)
        returning id, mail, attempts`.execute(db);
      await Promise.all(rows.map(sendOne));
    },
  };
}
