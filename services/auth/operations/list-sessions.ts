import type { Session } from '../../../shared/contracts/auth.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import type { AuthContext } from '../context.ts';
import { liveSessions } from '../store/sessions.ts';

/** The caller's live sessions, newest first. */
export async function listSessions(
  context: AuthContext,
  query: { limit: number; cursor?: string | undefined },
): Promise<Page<Session>> {
  const { userId, sessionId } = context.caller;
  const beforeId = decodeCursor<[string]>(query.cursor, ['id'])?.[0];
  const rows = await liveSessions(context.db, userId, { beforeId, limit: query.limit + 1 });
  return toPage(
    rows,
    query.limit,
    (row) => [row.id],
    (row) => ({
      id: row.id,
      createdAt: row.created_at.toISOString(),
      lastUsedAt: row.last_used_at.toISOString(),
      ip: row.ip,
      userAgent: row.user_agent,
      current: row.id === sessionId,
    }),
  );
}
