import { hashPassword } from '../../../shared/auth/passwords.ts';
import { newId } from '../../../shared/ids.ts';
import type { AuthContext } from '../context.ts';
import { findUserByEmail, insertUser } from '../store/users.ts';

/** Makes the first administrator of an installation, verified, unless the address has an account already. */
export async function createFirstAdmin(
  context: AuthContext,
  admin: { email: string; password: string },
): Promise<void> {
  const email = admin.email.trim().toLowerCase();
  if (await findUserByEmail(context.db, email)) return;
  const passwordHash = await hashPassword(admin.password);
  await context.transaction(async (tx) => {
    const row = await insertUser(tx.db, {
      id: newId(),
      email,
      displayName: 'Administrator',
      passwordHash,
      role: 'admin',
      verified: true,
    });
    if (!row) return; // another process was first
    await tx.publish('user.registered', row.id, {
      userId: row.id,
      email,
      displayName: row.display_name,
      role: 'admin',
    });
    await tx.publish('user.verified', row.id, { userId: row.id, email });
  });
}
