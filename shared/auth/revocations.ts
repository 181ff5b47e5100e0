import { Role } from '../contracts/common.ts';
import type { EphemeralStore } from '../ports/ephemeral-store.ts';

/**
 * How auth ends access tokens before their time. A mark in the shared store is what counts: it is there before auth
 * answers, and whoever must be sure reads it. A message besides tells those who keep what they read for a moment.
 */

const CHANNEL = 'revocations';
const revokedKey = (sessionId: string): string => `revoked:${sessionId}`;
const roleKey = (userId: string): string => `role:${userId}`;

/** What the store says about one session. */
export interface Mark {
  revoked: boolean;
  /** The user's new role, for as long as tokens with the old one may be about. */
  role: Role | null;
}

/** Marks sessions as over; `ttlMs` is how long their tokens may still be about. Said again, it changes nothing. */
export async function markRevoked(store: EphemeralStore, sessionIds: string[], ttlMs: number): Promise<void> {
  await Promise.all(sessionIds.map((id) => store.set(revokedKey(id), '1', ttlMs)));
}

/** Marks a user's new role. */
export async function markRole(
  store: EphemeralStore,
  userId: string,
  role: Role,
  ttlMs: number,
): Promise<void> {
  await store.set(roleKey(userId), role, ttlMs);
}

/** Tells every process at once. Best effort: who misses it reads the mark soon. */
export async function announceRevoked(store: EphemeralStore, sessionIds: string[]): Promise<void> {
  await Promise.all(sessionIds.map((id) => store.publish(CHANNEL, `session ${id}`).catch(() => {})));
}

/** The same for a role. */
export async function announceRole(store: EphemeralStore, userId: string, role: Role): Promise<void> {
  await store.publish(CHANNEL, `role ${userId} ${role}`).catch(() => {});
}

/** Hears the announcements. Returns how to stop. */
export function onAnnouncement(
  store: EphemeralStore,
  heard: { revoked(sessionId: string): void; role(userId: string, role: Role): void },
): Promise<() => Promise<void>> {
  return store.subscribe(CHANNEL, (message) => {
    const [what, id = '', role] = message.split(' ');
    if (what === 'session') heard.revoked(id);
    const parsed = Role.safeParse(role);
    if (what === 'role' && parsed.success) heard.role(id, parsed.data);
  });
}

/** The marks of many sessions, in one round trip. */
export async function readMarks(
  store: EphemeralStore,
  sessions: readonly { sessionId: string; userId: string }[],
): Promise<Mark[]> {
  const values = await store.getMany(
    sessions.flatMap(({ sessionId, userId }) => [revokedKey(sessionId), roleKey(userId)]),
  );
  return sessions.map((_, index) => ({
    revoked: Boolean(values[2 * index]),
    role: (values[2 * index + 1] ?? null) as Role | null,
  }));
}
