import type { User } from '../../../shared/contracts/auth.ts';
import { Problem } from '../../../shared/errors.ts';
import type { AuthContext, AuthTools } from '../context.ts';
import { useOneTimeToken } from '../store/tokens.ts';
import { findUserByEmail, lockUser, updateUser } from '../store/users.ts';
import { mailToken } from './mails.ts';
import { digestOf } from './secrets.ts';
import { toUser } from './to-user.ts';

/** Proves an address with the token of the mail, once. Throws `validation-failed` for any other token. */
export async function verifyEmail(context: AuthContext, token: string): Promise<User> {
  return context.transaction(async (tx) => {
    const userId = await useOneTimeToken(tx.db, digestOf(token), 'verify-email');
    const user = userId ? await lockUser(tx.db, userId) : undefined;
    if (!user) {
      throw new Problem('validation-failed', 'The token is not valid, was used, or has run out.', {
        errors: [{ path: 'body.token', message: 'not a token that works now' }],
      });
    }
    if (user.email_verified_at) return toUser(user);
    const verified = await updateUser(tx.db, user.id, { email_verified_at: new Date() });
    await tx.publish('user.verified', user.id, { userId: user.id, email: user.email });
    return toUser(verified);
  });
}

/** Mails a new token if there is an unverified account; says nothing about whether there is. */
export async function resendVerification(
  context: AuthContext,
  tools: AuthTools,
  email: string,
): Promise<void> {
  await context.transaction(async (tx) => {
    const user = await findUserByEmail(tx.db, email);
    if (user && !user.email_verified_at)
      await mailToken(tx.db, user, 'verify-email', tools.settings.publicUrl);
  });
}
