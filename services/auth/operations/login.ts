import { NOBODYS_HASH, verifyPassword } from '../../../shared/auth/passwords.ts';
import { Problem } from '../../../shared/errors.ts';
import { newId } from '../../../shared/ids.ts';
import type { AuthContext, AuthTools } from '../context.ts';
import { insertSession } from '../store/sessions.ts';
import { findUserByEmail } from '../store/users.ts';
import { issueTokens, SESSION_MS } from './issue-tokens.ts';

/** Tries per account: a burst of 20, then one every 6 s, whatever address they come from. */
const ATTEMPTS = { capacity: 20, perSecond: 1 / 6 };

/**
 * Starts a session. Throws `invalid-credentials` (the same, and as slow, for an unknown address),
 * `email-unverified`, `account-disabled`, or `rate-limited` after too many tries at one account.
 */
export async function login(
  context: AuthContext,
  tools: AuthTools,
  input: { email: string; password: string },
) {
  await limitAttempts(tools, input.email);
  const user = await findUserByEmail(context.db, input.email);
  const right = await verifyPassword(input.password, user?.password_hash ?? NOBODYS_HASH);
  if (!user || !right) throw new Problem('invalid-credentials');
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

async function limitAttempts(tools: AuthTools, email: string): Promise<void> {
  const scale = tools.settings.limitScale;
  const decision = await tools.ephemeral
    .takeTokens(`login:${email}`, {
      capacity: ATTEMPTS.capacity * scale,
      perSecond: ATTEMPTS.perSecond * scale,
    })
    // Without the store the gateway's own limits still hold; nobody is locked out.
    .catch(() => undefined);
  if (decision && !decision.allowed) {
    throw new Problem('rate-limited', 'Too many tries for this account.', {
      retryAfter: decision.resetMs / 1000,
    });
  }
}
