import { decodeProtectedHeader, errors, jwtVerify } from 'jose';
import { z } from 'zod';
import { Id, Role } from '../contracts/common.ts';
import { Problem, type ProblemCode } from '../errors.ts';
import type { EphemeralStore } from '../ports/ephemeral-store.ts';
import { RecentCache } from '../recent-cache.ts';
import { within } from '../wait-for.ts';
import type { KeySet } from './key-set.ts';
import { type Mark, onAnnouncement, readMarks } from './revocations.ts';

export { localKeys, remoteKeys } from './key-set.ts';

/** Who calls, as the access token says and the revocations confirm. */
export interface Caller {
  userId: string;
  sessionId: string;
  role: Role;
  /** Display name when the token was made; a service with a projection of profiles knows a newer one. */
  name: string;
  /** Seconds since the epoch. */
  expiresAt: number;
}

export const ISSUER = 'lyceum';
export const AUDIENCE = 'lyceum';

/** How far two machines' clocks may be apart, in seconds. */
const CLOCK_TOLERANCE = 5;
/** Tokens kept, those used last. */
const CACHE_SIZE = 10_000;
/** Refused tokens kept, so that one sent again and again is checked once. */
const REFUSALS_SIZE = 1_000;
const LONGEST_TOKEN = 4_096;
/** 64 bytes in base64url (RFC 8032, 5.1.6). */
const SIGNATURE_LENGTH = 86;
/** How long it counts what the store said about a session, in milliseconds. */
const FRESH_MS = 500;
/** Between two questions to the store about all sessions in use, in milliseconds. */
const POLL_MS = 250;
/**
 * A session counts as in use for so long after a request. One key more in a question costs a hundredth of a question of
 * its own, which somebody who writes once a second would otherwise need each time.
 */
const IN_USE_MS = 5_000;
/** Sessions in one of these questions. */
const POLL_BATCH = 500;
/** The store must answer, or the signature alone decides for a while. Milliseconds. */
const STORE_MS = 1_000;

const Claims = z.object({
  sub: Id,
  sid: Id,
  role: Role,
  name: z.string().default(''),
  iat: z.number(),
  exp: z.number(),
});

export interface TokenVerifier {
  /**
   * The caller of an access token, after a look into the store: sure at this moment. Throws `unauthenticated` or
   * `token-expired`.
   */
  verify(token: string): Promise<Caller>;
  /** The same for an Authorization header; undefined when there is none. */
  fromHeader(authorization: string | null | undefined): Promise<Caller | undefined>;
  /**
   * The caller of a token that was verified before, without waiting: it has not run out, and its session had not ended
   * half a second ago. Undefined: ask `verify`.
   */
  known(token: string): Caller | undefined;
  /** The same for a whole Authorization header, looked up as it is. */
  knownHeader(authorization: string): Caller | undefined;
  close(): Promise<void>;
}

/** One session, as far as this process has seen tokens of it. */
interface Session extends Mark {
  readonly sessionId: string;
  readonly userId: string;
  /** When `role` was announced: a question sent before that may have an older answer. */
  roleHeardAt: number;
  /** `Date.now()` until which the mark counts without asking. */
  freshUntil: number;
  /** `Date.now()` of its last use. */
  usedAt: number;
  /** The polls ask for it. */
  polled: boolean;
  tokens: number;
}

interface Verified {
  readonly caller: Caller;
  readonly session: Session;
  /** `Date.now()`. */
  readonly endsAt: number;
  used: boolean;
}

interface Refusal {
  readonly code: ProblemCode;
  used: boolean;
}

/**
 * Verifies access tokens (RFC 7519, EdDSA only, so `none` and HMAC tricks fail) and keeps the result until the token
 * expires: a signature check costs 60–80 µs, a look-up a fraction of one.
 *
 * A session may end before its tokens do. Services ask the store on every call (`verify`): auth marks a session there
 * before it answers a logout, so a service that is asked after that answer refuses, always. The gateway's check is the
 * first of two, so it may be late by half a second and in return never waits (`known`): it hears of ended sessions by a
 * message, and asks for all sessions in use in one question four times a second, for the message may be lost.
 *
 * While the store is away the signature alone decides, for the ten minutes a token lives; nobody waits for it longer
 * than `storeMs`, once.
 */
export function createTokenVerifier(
  keys: KeySet,
  store: EphemeralStore,
  { storeMs = STORE_MS }: { storeMs?: number } = {},
): TokenVerifier {
  // By what was presented, a header or a bare token: only a header has a space in it.
  const cache = new RecentCache<Verified>(CACHE_SIZE, ({ session }) => {
    if (--session.tokens === 0) sessions.delete(session.sessionId);
  });
  const sessions = new Map<string, Session>();
  const refusals = new RecentCache<Refusal>(REFUSALS_SIZE);
  const underWay = new Map<string, Promise<Verified>>();
  let inUse: Session[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  let storeAway = false;
  let closed = false;
  let withdrawals = keys.withdrawals;

  const subscription = onAnnouncement(store, {
    revoked(sessionId) {
      const session = sessions.get(sessionId);
      if (session) session.revoked = true;
    },
    role(userId, role) {
      for (const session of sessions.values()) {
        if (session.userId !== userId) continue;
        session.role = role;
        session.roleHeardAt = Date.now();
      }
    },
  }).catch(() => async () => {});

  function known(text: string): Caller | undefined {
    const entry = cache.get(text);
    if (entry === undefined) return undefined;
    const { session, caller } = entry;
    const now = Date.now();
    session.usedAt = now;
    if (!session.polled) {
      session.polled = true;
      inUse.push(session);
      pollSoon();
    }
    if (now >= entry.endsAt || session.revoked || (now >= session.freshUntil && !storeAway)) return undefined;
    if (session.role !== null && session.role !== caller.role) return undefined;
    return caller;
  }

  async function verified(text: string, token: string): Promise<Caller> {
    forgetWithdrawn();
    const entry = cache.get(text) ?? (await identified(text, token));
    const { session, caller } = entry;
    if (Date.now() >= entry.endsAt) throw new Problem('token-expired');
    if (!session.revoked && !storeAway) await ask([session]).catch(onStoreLost);
    if (session.revoked) throw new Problem('unauthenticated', 'This session is over. Sign in again.');
    if (session.role !== null && session.role !== caller.role)
      throw new Problem('token-expired', 'Your role has changed. Refresh the token.');
    return caller;
  }

  /** Checks the signature, once for all who present the same token meanwhile. */
  function identified(text: string, token: string): Promise<Verified> {
    const refusal = refusals.get(text);
    if (refusal) return Promise.reject(new Problem(refusal.code, detailOf(refusal.code)));
    let check = underWay.get(text);
    if (check === undefined) {
      // A bare token comes out of JSON and stands for itself: whoever keeps it shares it with the cache.
      const kept = text === token ? text : detached(text);
      check = identify(kept, token).finally(() => underWay.delete(text));
      underWay.set(text, check);
    }
    return check;
  }

  async function identify(text: string, token: string): Promise<Verified> {
    const checked = await checkToken(token, keys);
    if ('refusal' in checked) {
      if (checked.final) refusals.set(text, { code: checked.refusal, used: false });
      throw new Problem(checked.refusal, detailOf(checked.refusal));
    }
    const { caller } = checked;
    let session = sessions.get(caller.sessionId);
    if (session === undefined) {
      const { sessionId, userId } = caller;
      session = {
        sessionId,
        userId,
        revoked: false,
        role: null,
        roleHeardAt: 0,
        freshUntil: 0,
        usedAt: 0,
        polled: false,
        tokens: 0,
      };
      sessions.set(sessionId, session);
    }
    session.tokens++;
    const entry = { caller, session, endsAt: (caller.expiresAt + CLOCK_TOLERANCE) * 1_000, used: false };
    cache.set(text, entry);
    return entry;
  }

  async function ask(asked: Session[]): Promise<void> {
    const askedAt = Date.now();
    const marks = await within(readMarks(store, asked), storeMs);
    for (const [index, { revoked, role }] of marks.entries()) {
      const session = asked[index]!;
      // Sessions do not come back.
      session.revoked ||= revoked;
      if (askedAt > session.roleHeardAt) session.role = role;
      session.freshUntil = Math.max(session.freshUntil, askedAt + FRESH_MS);
    }
  }

  function onStoreLost(): void {
    storeAway = true;
    pollSoon();
  }

  function pollSoon(): void {
    if (timer !== undefined || closed) return;
    timer = setTimeout(poll, POLL_MS);
    timer.unref?.();
  }

  async function poll(): Promise<void> {
    keys.refresh();
    forgetWithdrawn();
    const since = Date.now() - IN_USE_MS;
    for (const session of inUse) session.polled = session.usedAt > since;
    inUse = inUse.filter(({ polled }) => polled);
    try {
      if (inUse.length === 0) await within(store.ready(), storeMs);
      const batches: Promise<void>[] = [];
      for (let from = 0; from < inUse.length; from += POLL_BATCH)
        batches.push(ask(inUse.slice(from, from + POLL_BATCH)));
      await Promise.all(batches);
      storeAway = false;
    } catch {
      storeAway = true;
    }
    timer = undefined;
    if (inUse.length > 0 || storeAway) pollSoon();
  }

  /** A key that was withdrawn may have been stolen: what it signed is looked at again. */
  function forgetWithdrawn(): void {
    if (withdrawals === keys.withdrawals) return;
    withdrawals = keys.withdrawals;
    cache.clear();
  }

  return {
    verify: (token) => verified(token, token),
    async fromHeader(authorization) {
      if (authorization === null || authorization === undefined || authorization === '') return undefined;
      return verified(authorization, tokenOf(authorization));
    },
    known,
    knownHeader: known,
    async close() {
      closed = true;
      clearTimeout(timer);
      await (await subscription)();
    },
  };
}

function tokenOf(authorization: string): string {
  const [scheme, token, ...rest] = authorization.split(' ');
  if (scheme?.toLowerCase() !== 'bearer' || !token || rest.length > 0)
    throw new Problem('unauthenticated', 'Use "Authorization: Bearer <access token>".');
  return token;
}

/** A part of a larger text holds on to all of it; this one does not. */
const detached = (text: string): string => Buffer.from(text, 'latin1').toString('latin1');

const detailOf = (code: ProblemCode): string | undefined =>
  code === 'unauthenticated' ? 'The access token is not valid.' : undefined;

/** `final`: it will never be a good one. */
type Checked = { caller: Caller } | { refusal: 'unauthenticated' | 'token-expired'; final: boolean };

const refused = (final: boolean): Checked => ({ refusal: 'unauthenticated', final });

/** What can be told without a signature check comes first: that costs something. Throws only `upstream-unavailable`. */
async function checkToken(token: string, keys: KeySet): Promise<Checked> {
  const kid = keyIdOf(token);
  // Not worth remembering: it costs as little the next time.
  if (kid === undefined) return refused(false);
  const key = keys.known(kid) ?? (await keys.find(kid));
  if (key === undefined) return refused(false);
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: ['EdDSA', 'Ed25519'],
      issuer: ISSUER,
      audience: AUDIENCE,
      clockTolerance: CLOCK_TOLERANCE,
      requiredClaims: ['sub', 'sid', 'role', 'iat', 'exp'],
    });
    const { sub, sid, role, name, iat, exp } = Claims.parse(payload);
    if (iat > Date.now() / 1_000 + CLOCK_TOLERANCE) return refused(false);
    return { caller: { userId: sub, sessionId: sid, role, name, expiresAt: exp } };
  } catch (error) {
    if (error instanceof errors.JWTExpired) return { refusal: 'token-expired', final: true };
    // The one claim that time makes good.
    if (error instanceof errors.JWTClaimValidationFailed) return refused(error.claim !== 'nbf');
    if (error instanceof errors.JOSEError || error instanceof z.ZodError) return refused(true);
    throw error;
  }
}

/** The id of the key that a token says it is signed with; undefined if it does not even look like one of ours. */
function keyIdOf(token: string): string | undefined {
  if (token.length > LONGEST_TOKEN) return undefined;
  const first = token.indexOf('.');
  const second = token.indexOf('.', first + 1);
  if (first <= 0 || second <= first + 1 || token.length - second - 1 !== SIGNATURE_LENGTH) return undefined;
  try {
    const { alg, kid } = decodeProtectedHeader(token);
    return (alg === 'EdDSA' || alg === 'Ed25519') && typeof kid === 'string' && kid.length <= 100
      ? kid
      : undefined;
  } catch {
    return undefined;
  }
}
