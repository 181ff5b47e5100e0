import type { z } from 'zod';
import { hashPassword, isCommonPassword } from '../../../shared/auth/passwords.ts';
import type { Registration, User } from '../../../shared/contracts/auth.ts';
import { Problem } from '../../../shared/errors.ts';
import { newId } from '../../../shared/ids.ts';
import type { AuthContext, AuthTools } from '../context.ts';
import { insertUser } from '../store/users.ts';
import { mailToken } from './mails.ts';
import { toUser } from './to-user.ts';

/** Makes an account for anybody who asks, as a learner. Throws `email-taken`, or `validation-failed` for a common password. */
export async function register(
  context: AuthContext,
  tools: AuthTools,
  input: z.output<typeof Registration>,
): Promise<User> {
  await refuseCommonPassword(input.password, 'password');
  const passwordHash = await hashPassword(input.password);
  return context.transaction(async (tx) => {
    const row = await insertUser(tx.db, {
      ...input,
      id: newId(),
      passwordHash,
      role: 'learner',
      verified: false,
    });
    if (!row) throw new Problem('email-taken');
    await mailToken(tx.db, row, 'verify-email', tools.settings.publicUrl);
    await tx.publish('user.registered', row.id, {
      userId: row.id,
      email: row.email,
      displayName: row.display_name,
      role: row.role,
    });
    return toUser(row);
  });
}

/** Throws `validation-failed` for a password that is among the commonly used. */
export async function refuseCommonPassword(password: string, field: string): Promise<void> {
  if (!(await isCommonPassword(password))) return;
  throw new Problem('validation-failed', 'This password is among the commonly used.', {
    errors: [{ path: `body.${field}`, message: 'is among the commonly used passwords' }],
  });
}
