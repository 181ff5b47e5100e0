import { Problem } from '../../../shared/errors.ts';
import type { AuthContext, AuthTools } from '../context.ts';
import { lockSession, touchSession } from '../store/sessions.ts';
import { lockRefreshToken, markRefreshTokenUsed } from '../store/tokens.ts';
import { findUser } from '../store/users.ts';
import { endUserSessions } from './end-session.ts';
import { issueTokens, SESSION_MS } from './issue-tokens.ts';
import { digestOf } from './secrets.ts';

/**
 * Trades a refresh token for a new pair; each works once. One used before was copied by somebody, so the whole
 * session ends (RFC 9700, 4.14.2). Throws `refresh-reused`, `unauthenticated` or `account-disabled`.
 */
export async function refreshSession(context: AuthContext, tools: AuthTools, refreshToken: string) {
  const digest = digestOf(refreshToken);
  const outcome = await context.transaction(async (tx) => {
    const token = await lockRefreshToken(tx.db, digest);
    const session = token ? await lockSession(tx.db, token.session_id) : undefined;
    if (!token || !session) throw new Problem('unauthenticated', 'The refresh token is not valid.');
    // Ending the session must commit, so this can not be thrown in here.
    if (token.used_at) return { reused: session };
    if (session.revoked_at || session.expires_at < new Date()) {
      throw new Problem('unauthenticated', 'This session is over. Sign in again.');
    }
    const user = await findUser(tx.db, session.user_id);
    if (!user) throw new Problem('unauthenticated');
    if (user.disabled_at) throw new Problem('account-disabled');
    await markRefreshTokenUsed(tx.db, digest);
    await touchSession(tx.db, session.id, {
      expiresAt: new Date(Date.now() + SESSION_MS),
      ip: context.origin.ip,
      userAgent: context.origin.userAgent,
    });
    return { tokens: await issueTokens(tx.db, tools, user, session.id) };
  });
  if (outcome.reused) {
    await endUserSessions(
      context,
      tools,
      outcome.reused.user_id,
      { only: outcome.reused.id },
      'refresh-reused',
    );
    throw new Problem('refresh-reused');
  }
  return outcome.tokens;
}
