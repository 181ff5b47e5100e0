import { NOBODYS_HASH, verifyPassword } from '../../../shared/auth/passwords.ts';
import { Problem } from '../../../shared/errors.ts';
import { newId } from '../../../shared/ids.ts';
import type { AuthContext, AuthTools } from '../context.ts';
import { insertSession } from '../store/sessions.ts';
import { findUserByEmail } from '../store/users.ts';
import { issueTokens, SESSION_MS } from './issue-tokens.ts';

/**
 * Starts a session. Throws `invalid-credentials` (the same, and as slow, for an unknown address),
 * `email-unverified`, `account-disabled`, or `rate-limited` after too many wrong passwords.
 */
export async function login(
  context: AuthContext,
  tools: AuthTools,
  input: { email: string; password: string },
) {
  const user = await tools.attempts.guard(input.email, context.origin.ip, async () => {
    const found = await findUserByEmail(context.db, input.email);
    const right = await verifyPassword(input.password, found?.password_hash ?? NOBODYS_HASH);
    return right ? found : undefined;
  });
  if (!user) throw new Problem('invalid-credentials');
  if (user.disabled_at) throw new Problem('account-disabled');
  if (!user.email_verified_at) throw new Problem('email-unverified');

  return context.transaction(async (tx) => {
    const sessionId = newId();
    await insertSession(tx.db, {
      id: sessionId,
      userId: user.id,
      expiresAt: new Date(Date.now() + SESSION_MS),
      ip: context.origin.ip,
      userAgent: context.origin.userAgent,
    });
    return issueTokens(tx.db, tools, user, sessionId);
  });
}
