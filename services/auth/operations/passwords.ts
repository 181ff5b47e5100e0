import { hashPassword, verifyPassword } from '../../../shared/auth/passwords.ts';
import { Problem } from '../../../shared/errors.ts';
import type { AuthContext, AuthTools } from '../context.ts';
import { useOneTimeToken } from '../store/tokens.ts';
import { findUser, findUserByEmail, updateUser } from '../store/users.ts';
import { endUserSessions } from './end-session.ts';
import { mailToken } from './mails.ts';
import { refuseCommonPassword } from './register.ts';
import { digestOf } from './secrets.ts';

/** Mails a token if there is such an account; says nothing about whether there is. */
export async function forgotPassword(context: AuthContext, tools: AuthTools, email: string): Promise<void> {
  await context.transaction(async (tx) => {
    const user = await findUserByEmail(tx.db, email);
    if (user && !user.disabled_at) await mailToken(tx.db, user, 'reset-password', tools.settings.publicUrl);
  });
}

/** Sets a new password with the token of the mail and ends every session. Throws `validation-failed` for any other token. */
export async function resetPassword(
  context: AuthContext,
  tools: AuthTools,
  input: { token: string; password: string },
): Promise<void> {
  await refuseCommonPassword(input.password, 'password');
  const passwordHash = await hashPassword(input.password);
  const user = await context.transaction(async (tx) => {
    const owner = await useOneTimeToken(tx.db, digestOf(input.token), 'reset-password');
    if (!owner) {
      throw new Problem('validation-failed', 'The token is not valid, was used, or has run out.', {
        errors: [{ path: 'body.token', message: 'not a token that works now' }],
      });
    }
    return await updateUser(tx.db, owner, { password_hash: passwordHash });
  });
  await tools.attempts.forgive(user.email);
  await endUserSessions(context, tools, user.id, {}, 'password-reset');
}

/**
 * Changes the caller's password and ends the other sessions. Throws `invalid-credentials`, or `rate-limited`: who holds
 * somebody's access token may guess no more than at the front door.
 */
export async function changePassword(
  context: AuthContext,
  tools: AuthTools,
  input: { currentPassword: string; newPassword: string },
): Promise<void> {
  const { userId, sessionId } = context.caller;
  const user = await findUser(context.db, userId);
  if (!user) throw new Problem('unauthenticated', 'This account is gone.');
  const owner = await tools.attempts.guard(user.email, context.origin.ip, async () =>
    (await verifyPassword(input.currentPassword, user.password_hash)) ? user : undefined,
  );
  if (!owner) throw new Problem('invalid-credentials', 'The current password is wrong.');
  await refuseCommonPassword(input.newPassword, 'newPassword');
  await updateUser(context.db, userId, { password_hash: await hashPassword(input.newPassword) });
  await endUserSessions(context, tools, userId, { except: sessionId }, 'password-changed');
}
