import type { Kysely } from 'kysely';
import type { Tokens } from '../../../shared/contracts/auth.ts';
import type { AuthTools } from '../context.ts';
import type { AuthTables } from '../store/tables.ts';
import { insertRefreshToken } from '../store/tokens.ts';
import type { UserRow } from '../store/users.ts';
import { digestOf, newSecret } from './secrets.ts';
import { toUser } from './to-user.ts';

/** A session that is not used for this long runs out. */
export const SESSION_MS = 30 * 86_400_000;

/** A new pair of tokens for a session. */
export async function issueTokens(
  tx: Kysely<AuthTables>,
  tools: AuthTools,
  user: UserRow,
  sessionId: string,
): Promise<Tokens & { refreshToken: string }> {
  const refreshToken = newSecret();
  await insertRefreshToken(tx, digestOf(refreshToken), sessionId);
  return {
    accessToken: await tools.keys.sign({
      userId: user.id,
      sessionId,
      role: user.role,
      name: user.display_name,
    }),
    tokenType: 'Bearer',
    expiresIn: tools.settings.accessTokenSeconds,
    refreshToken,
    user: toUser(user),
  };
}
