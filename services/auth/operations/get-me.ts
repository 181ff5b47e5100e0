import type { User } from '../../../shared/contracts/auth.ts';
import { Problem } from '../../../shared/errors.ts';
import type { AuthContext } from '../context.ts';
import { findUser } from '../store/users.ts';
import { toUser } from './to-user.ts';

/** The caller's account as it is now, which may be newer than the token. */
export async function getMe(context: AuthContext): Promise<User> {
  const user = await findUser(context.db, context.caller.userId);
  if (!user) throw new Problem('unauthenticated', 'This account is gone.');
  return toUser(user);
}
