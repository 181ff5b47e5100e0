import type { Kysely } from 'kysely';
import { renderMail } from '../../../shared/mail/layout.ts';
import { queueMail } from '../../../shared/mail/mail-queue.ts';
import type { AuthTables } from '../store/tables.ts';
import { replaceOneTimeToken } from '../store/tokens.ts';
import type { UserRow } from '../store/users.ts';
import { digestOf, newSecret } from './secrets.ts';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/**
 * Queues the mail that proves an address; its token works for a day. The link has the token behind `#`, which
 * browsers do not send to servers, so it ends in no log.
 */
export async function mailVerification(
  tx: Kysely<AuthTables>,
  user: UserRow,
  publicUrl: string,
): Promise<void> {
  const token = newSecret();
  await replaceOneTimeToken(tx, {
    digest: digestOf(token),
    userId: user.id,
    purpose: 'verify-email',
    expiresAt: new Date(Date.now() + DAY_MS),
  });
  const body = renderMail({
    title: 'Confirm your e-mail address',
    paragraphs: [
      `Hello ${user.display_name},`,
      'welcome to Lyceum. Please confirm that this address is yours; the link works for a day.',
      `Your token: ${token}`,
    ],
    button: { label: 'Confirm my address', url: `${publicUrl}/verify-email#token=${token}` },
    footer: 'If you did not sign up, ignore this mail and nothing happens.',
  });
  await queueMail(tx, { to: user.email, subject: 'Confirm your e-mail address', ...body });
}

/** Queues the mail that lets somebody choose a new password; its token works for an hour. */
export async function mailPasswordReset(
  tx: Kysely<AuthTables>,
  user: UserRow,
  publicUrl: string,
): Promise<void> {
  const token = newSecret();
  await replaceOneTimeToken(tx, {
    digest: digestOf(token),
    userId: user.id,
    purpose: 'reset-password',
    expiresAt: new Date(Date.now() + HOUR_MS),
  });
  const body = renderMail({
    title: 'Choose a new password',
    paragraphs: [
      `Hello ${user.display_name},`,
      'somebody, hopefully you, asked for a new password. The link works for an hour, once.',
      `Your token: ${token}`,
    ],
    button: { label: 'Choose a new password', url: `${publicUrl}/reset-password#token=${token}` },
    footer: 'If it was not you, ignore this mail: your password stays as it is.',
  });
  await queueMail(tx, { to: user.email, subject: 'Choose a new password', ...body });
}
