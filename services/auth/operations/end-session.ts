import { announceRevoked, markRevoked, markRole } from '../../../shared/auth/revocations.ts';
import { notFound } from '../../../shared/errors.ts';
import type { AuthContext, AuthTools } from '../context.ts';
import { endSessions, sessionsRevokedSince } from '../store/sessions.ts';
import { roleChangesSince } from '../store/users.ts';

/** Longer than any access token lives, with room for clocks that differ. */
export const revocationMs = (tools: AuthTools): number => tools.settings.accessTokenSeconds * 1000 + 30_000;

/** Ends the caller's own session. Said again, it pushes the revocation again and is fine. */
export async function logout(context: AuthContext, tools: AuthTools): Promise<void> {
  const { userId, sessionId } = context.caller;
  await endUserSessions(context, tools, userId, { only: sessionId }, 'logout');
  // A retry after a failed push finds nothing to end, but must still push.
  await pushRevocations(tools, [sessionId]);
}

/** Ends one of the caller's sessions. Throws `not-found`. */
export async function endOwnSession(
  context: AuthContext,
  tools: AuthTools,
  sessionId: string,
): Promise<void> {
  const ended = await endUserSessions(
    context,
    tools,
    context.caller.userId,
    { only: sessionId },
    'ended-by-user',
  );
  if (ended.length === 0) throw notFound('session');
}

/**
 * Ends sessions of a user for good and makes their access tokens stop at once in every process: the row first,
 * then the mark that every service asks for, then a message to those that keep what they read. Throws
 * `upstream-unavailable` if the mark can't be set; the sessions are over all the same and a job sets the mark as soon
 * as it can.
 */
export async function endUserSessions(
  context: AuthContext,
  tools: AuthTools,
  userId: string,
  which: { only?: string; except?: string },
  reason: string,
): Promise<string[]> {
  const ended = await context.transaction(async (tx) => {
    const ids = await endSessions(tx.db, userId, which);
    for (const sessionId of ids)
      await tx.publish('session.revoked', sessionId, { userId, sessionId, reason });
    return ids;
  });
  await pushRevocations(tools, ended);
  return ended;
}

async function pushRevocations(tools: AuthTools, sessionIds: string[]): Promise<void> {
  await markRevoked(tools.ephemeral, sessionIds, revocationMs(tools));
  await announceRevoked(tools.ephemeral, sessionIds);
}

/** The job that repeats recent revocations, so that a store which lost its memory learns them again. */
export async function repeatRevocations(context: AuthContext, tools: AuthTools): Promise<void> {
  const since = new Date(Date.now() - revocationMs(tools));
  const sessions = await sessionsRevokedSince(context.db, since);
  await markRevoked(
    tools.ephemeral,
    sessions.map(({ id }) => id),
    revocationMs(tools),
  );
  for (const user of await roleChangesSince(context.db, since))
    await markRole(tools.ephemeral, user.id, user.role, revocationMs(tools));
}
