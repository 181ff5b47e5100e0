import type { User } from '../../../shared/contracts/auth.ts';
import type { UserRow } from '../store/users.ts';

/** A row as clients see it. */
export const toUser = (row: UserRow): User => ({
  id: row.id,
  email: row.email,
  displayName: row.display_name,
  role: row.role,
  emailVerified: row.email_verified_at !== null,
  createdAt: row.created_at.toISOString(),
});
