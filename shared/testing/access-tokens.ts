import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { AUDIENCE, ISSUER } from '../auth/tokens.ts';
import { newId } from '../ids.ts';

/** A key pair as auth makes them, for tests of what is signed and checked. */
export interface TestKey {
  kid: string;
  publicJwk: JWK;
  /** A token; what `claims` and `header` name replaces what a good one has, undefined leaves it out. */
  sign(claims?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>;
}

export async function newTestKey(kid: string = newId()): Promise<TestKey> {
  const pair = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  return {
    kid,
    publicJwk: { ...(await exportJWK(pair.publicKey)), kid, alg: 'EdDSA', use: 'sig' },
    sign(claims = {}, header = {}) {
      const now = Math.floor(Date.now() / 1_000);
      return new SignJWT({
        iss: ISSUER,
        aud: AUDIENCE,
        sub: newId(),
        sid: newId(),
        role: 'learner',
        name: 'Ada',
        iat: now,
        exp: now + 600,
        ...claims,
      })
        .setProtectedHeader({ alg: 'EdDSA', kid, ...header })
        .sign(pair.privateKey);
    },
  };
}
