import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { AUDIENCE, ISSUER } from '../../shared/auth/tokens.ts';
import { newId } from '../../shared/ids.ts';

const USERS = 64;
const KID = 'bench';

export interface TokenMint {
  /** As the auth service publishes its keys. */
  jwks: string;
  /** One fresh access token for each of several users, as the auth service signs them. */
  tokens(): Promise<string[]>;
}

export async function createTokenMint(): Promise<TokenMint> {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { extractable: true });
  const users = Array.from({ length: USERS }, (_, index) => ({
    sub: newId(),
    sid: newId(),
    name: `Learner ${index + 1}`,
  }));
  const key = { ...(await exportJWK(publicKey)), kid: KID, alg: 'EdDSA', use: 'sig' };
  return {
    jwks: JSON.stringify({ keys: [key] }),
    tokens: () =>
      Promise.all(
        users.map(({ sub, sid, name }) =>
          new SignJWT({ sid, name, role: 'learner' })
            .setProtectedHeader({ alg: 'EdDSA', kid: KID, typ: 'JWT' })
            .setIssuer(ISSUER)
            .setAudience(AUDIENCE)
            .setSubject(sub)
            .setJti(newId())
            .setIssuedAt()
            .setExpirationTime('10 minutes')
            .sign(privateKey),
        ),
      ),
  };
}
