import {
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import { z } from 'zod';
import { Id, Role } from '../contracts/common.ts';
import { Problem, unavailable } from '../errors.ts';
import type { EphemeralStore } from '../ports/ephemeral-store.ts';

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
const CACHE_SIZE = 10_000;

const Claims = z.object({
  sub: Id,
  sid: Id,
  role: Role,
  name: z.string().default(''),
  iat: z.number(),
  exp: z.number(),
});

/** Key in the ephemeral store that ends a session's access tokens before their time. */
export const revokedSessionKey = (sessionId: string): string => `revoked:${sessionId}`;
/** Key that holds a user's new role for as long as tokens with the old one may be about. */
export const roleKey = (userId: string): string => `role:${userId}`;

export interface TokenVerifier {
  /** The caller of an access token. Throws `unauthenticated` or `token-expired`. */
  verify(token: string): Promise<Caller>;
  /** The same for an Authorization header; undefined when there is none. */
  fromHeader(authorization: string | null | undefined): Promise<Caller | undefined>;
}

/** The keys of the auth service over HTTP; refetched in the background and on an unknown `kid`, at most every 5 s. */
export const remoteKeys = (url: string): JWTVerifyGetKey =>
  createRemoteJWKSet(new URL(url), { cooldownDuration: 5_000, cacheMaxAge: 600_000, timeoutDuration: 3_000 });

export const localKeys = (keys: JSONWebKeySet): JWTVerifyGetKey => createLocalJWKSet(keys);

/**
 * Verifies access tokens (RFC 7519, EdDSA only, so `none` and HMAC tricks fail) and keeps the result until the
 * token expires: a signature check costs 60–80 µs, a look-up none. Revocations are asked for on every call, in
 * one round trip; while the store is away the signature alone decides, for the ten minutes a token lives.
 */
export function createTokenVerifier(keys: JWTVerifyGetKey, ephemeral: EphemeralStore): TokenVerifier {
  const cache = new Map<string, Caller>();

  async function checkSignature(token: string): Promise<Caller> {
    const known = cache.get(token);
    if (known) {
      if (known.expiresAt + CLOCK_TOLERANCE > Date.now() / 1000) return known;
      cache.delete(token);
      throw new Problem('token-expired');
    }
    const claims = await decode(token, keys);
    const caller: Caller = {
      userId: claims.sub,
      sessionId: claims.sid,
      role: claims.role,
      name: claims.name,
      expiresAt: claims.exp,
    };
    // Oldest out first: a Map keeps the order of insertion.
    if (cache.size >= CACHE_SIZE) cache.delete(cache.keys().next().value as string);
    cache.set(token, caller);
    return caller;
  }

  async function checkRevocation(caller: Caller): Promise<void> {
    let revoked: string | null | undefined;
    let role: string | null | undefined;
    try {
      [revoked, role] = await ephemeral.getMany([
        revokedSessionKey(caller.sessionId),
        roleKey(caller.userId),
      ]);
    } catch {
      return;
    }
    if (revoked) throw new Problem('unauthenticated', 'This session is over. Sign in again.');
    if (role && role !== caller.role)
      throw new Problem('token-expired', 'Your role has changed. Refresh the token.');
  }

  const verify = async (token: string): Promise<Caller> => {
    const caller = await checkSignature(token);
    await checkRevocation(caller);
    return caller;
  };

  return {
    verify,
    async fromHeader(authorization) {
      if (authorization === null || authorization === undefined || authorization === '') return undefined;
      const [scheme, token, ...rest] = authorization.split(' ');
      if (scheme?.toLowerCase() !== 'bearer' || !token || rest.length > 0) {
        throw new Problem('unauthenticated', 'Use "Authorization: Bearer <access token>".');
      }
      return verify(token);
    },
  };
}

async function decode(token: string, keys: JWTVerifyGetKey): Promise<z.infer<typeof Claims>> {
  if (token.length > 4096) throw new Problem('unauthenticated', 'The access token is not valid.');
  try {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: ['EdDSA', 'Ed25519'],
      issuer: ISSUER,
      audience: AUDIENCE,
      clockTolerance: CLOCK_TOLERANCE,
      requiredClaims: ['sub', 'sid', 'role', 'iat', 'exp'],
    });
    return Claims.parse(payload);
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw new Problem('token-expired');
    if (error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout)) {
      // A set that could not be fetched is our fault, not the token's.
      if (error.code !== 'ERR_JOSE_GENERIC')
        throw new Problem('unauthenticated', 'The access token is not valid.');
    }
    if (error instanceof z.ZodError) throw new Problem('unauthenticated', 'The access token is not valid.');
    throw unavailable('The key set', error);
  }
}
