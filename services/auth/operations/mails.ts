import type { Kysely } from 'kysely';
import { renderMail } from '../../../shared/mail/layout.ts';
import { queueMail } from '../../../shared/mail/mail-queue.ts';
import type { AuthTables, OneTimePurpose } from '../store/tables.ts';
import { replaceOneTimeToken } from '../store/tokens.ts';
import type { UserRow } from '../store/users.ts';
import { digestOf, newSecret } from './secrets.ts';

const HOUR_MS = 3_600_000;

interface TokenMail {
  subject: string;
  lifetimeMs: number;
  says: string;
  button: string;
  footer: string;
}

const MAILS: Record<OneTimePurpose, TokenMail> = {
  'verify-email': {
    subject: 'Confirm your e-mail address',
    lifetimeMs: 24 * HOUR_MS,
    says: 'welcome to Lyceum. Please confirm that this address is yours; the link works for a day.',
    button: 'Confirm my address',
    footer: 'If you did not sign up, ignore this mail and nothing happens.',
  },
  'reset-password': {
    subject: 'Choose a new password',
    lifetimeMs: HOUR_MS,
    says: 'somebody, hopefully you, asked for a new password. The link works for an hour, once.',
    button: 'Choose a new password',
    footer: 'If it was not you, ignore this mail: your password stays as it is.',
  },
};

/**
 * Queues the mail that carries a new one-time token; earlier tokens for the same purpose stop working. The link has
 * the token behind `#`, which browsers do not send to servers, so it ends in no log.
 */
export async function mailToken(
  tx: Kysely<AuthTables>,
  user: UserRow,
  purpose: OneTimePurpose,
  publicUrl: string,
): Promise<void> {
  const mail = MAILS[purpose];
  const token = newSecret();
  await replaceOneTimeToken(tx, {
    digest: digestOf(token),
    userId: user.id,
    purpose,
    expiresAt: new Date(Date.now() + mail.lifetimeMs),
  });
  const body = renderMail({
    title: mail.subject,
    paragraphs: [`Hello ${user.display_name},`, mail.says, `Your token: ${token}`],
    button: { label: mail.button, url: `${publicUrl}/${purpose}#token=${token}` },
    footer: mail.footer,
  });
  await queueMail(tx, { to: user.email, subject: mail.subject, ...body });
}
