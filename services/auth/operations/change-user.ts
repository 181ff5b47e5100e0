import { announceRole, markRole } from '../../../shared/auth/revocations.ts';
import type { User } from '../../../shared/contracts/auth.ts';
import type { Role } from '../../../shared/contracts/common.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import type { AuthContext, AuthTools } from '../context.ts';
import { countAdmins, lockUser, updateUser } from '../store/users.ts';
import { endUserSessions, revocationMs } from './end-session.ts';
import { toUser } from './to-user.ts';

/**
 * An administrator changes a role or disables an account. Tokens with the old role stop working at once (their
 * owner refreshes); a disabled account loses its sessions. Throws `not-found`, and `conflict` rather than leave
 * the school without an administrator.
 */
export async function changeUser(
  context: AuthContext,
  tools: AuthTools,
  userId: string,
  change: { role?: Role | undefined; disabled?: boolean | undefined },
): Promise<User & { disabled: boolean }> {
  const changed = await context.transaction(async (tx) => {
    const before = await lockUser(tx.db, userId);
    if (!before) throw notFound('user');
    const role = change.role ?? before.role;
    const disabled = change.disabled ?? before.disabled_at !== null;
    const losesAdmin = before.role === 'admin' && !before.disabled_at && (role !== 'admin' || disabled);
    if (losesAdmin && (await countAdmins(tx.db)) === 1) {
      throw new Problem('conflict', 'This is the last administrator.');
    }
    const after = await updateUser(tx.db, userId, {
      role,
      ...(role === before.role ? {} : { role_changed_at: new Date() }),
      disabled_at: disabled ? (before.disabled_at ?? new Date()) : null,
    });
    if (role !== before.role)
      await tx.publish('user.role-changed', userId, { userId, from: before.role, to: role });
    if (disabled !== (before.disabled_at !== null))
      await tx.publish('user.disabled', userId, { userId, disabled });
    return { before, after };
  });

  const { role } = changed.after;
  if (role !== changed.before.role) {
    await markRole(tools.ephemeral, userId, role, revocationMs(tools));
    await announceRole(tools.ephemeral, userId, role);
  }
  if (changed.after.disabled_at) await endUserSessions(context, tools, userId, {}, 'account-disabled');
  return { ...toUser(changed.after), disabled: changed.after.disabled_at !== null };
}
