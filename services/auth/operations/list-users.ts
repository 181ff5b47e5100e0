import type { User } from '../../../shared/contracts/auth.ts';
import type { Page, Role } from '../../../shared/contracts/common.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import type { AuthContext } from '../context.ts';
import { searchUsers } from '../store/users.ts';
import { toUser } from './to-user.ts';

/** All accounts, newest first, for administrators (the route says so). */
export async function listUsers(
  context: AuthContext,
  query: { limit: number; cursor?: string | undefined; q?: string | undefined; role?: Role | undefined },
): Promise<Page<User & { disabled: boolean }>> {
  const beforeId = decodeCursor<[string]>(query.cursor, ['id'])?.[0];
  const q = query.q?.replaceAll('\u0000', '');
  const rows = await searchUsers(context.db, { q, role: query.role, beforeId, limit: query.limit + 1 });
  return toPage(
    rows,
    query.limit,
    (row) => [row.id],
    (row) => ({ ...toUser(row), disabled: row.disabled_at !== null }),
  );
}
