import { type CryptoKey, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose';
import type { Kysely } from 'kysely';
import { AUDIENCE, ISSUER } from '../../shared/auth/tokens.ts';
import type { Role } from '../../shared/contracts/common.ts';
import { transaction } from '../../shared/db/transaction.ts';
import { newId } from '../../shared/ids.ts';
import { allKeys, deleteKeys, insertKey, lockKeys } from './store/signing-keys.ts';
import type { AuthTables } from './store/tables.ts';

/** A new key is published this long before it signs, so that every verifier has fetched it by then. */
const LEAD_MS = 30_000;

export interface SigningKeys {
  /** The public keys (RFC 7517), newest first. */
  jwks(): { keys: JWK[] };
  sign(claims: { userId: string; sessionId: string; role: Role; name: string }): Promise<string>;
  /** Adds a key that signs from half a minute on; the old one stays published until its last token has expired. */
  rotate(): Promise<string>;
  /** Reads what another process may have rotated. */
  reload(): Promise<void>;
}

interface LoadedKey {
  kid: string;
  activeFrom: number;
  privateKey: CryptoKey;
  publicJwk: JWK;
}

/** The Ed25519 key pairs that sign access tokens: made at the first start, kept in auth's own schema, rotated at will. */
export async function openSigningKeys(
  db: Kysely<AuthTables>,
  accessTokenSeconds: number,
): Promise<SigningKeys> {
  let loaded: LoadedKey[] = [];

  const create = async (tx: Kysely<AuthTables>, activeFrom: Date): Promise<string> => {
    const pair = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
    const kid = newId();
    const publicJwk = { ...(await exportJWK(pair.publicKey)), kid, alg: 'EdDSA', use: 'sig' };
    await insertKey(tx, {
      kid,
      private_jwk: await exportJWK(pair.privateKey),
      public_jwk: publicJwk,
      active_from: activeFrom,
    });
    return kid;
  };

  const reload = async (): Promise<void> => {
    const rows = await allKeys(db);
    loaded = await Promise.all(
      rows.map(async (row) => ({
        kid: row.kid,
        activeFrom: row.active_from.getTime(),
        privateKey: (await importJWK(row.private_jwk as JWK, 'EdDSA')) as CryptoKey,
        publicJwk: row.public_jwk as JWK,
      })),
    );
    // A key is done when its successor has signed for longer than a token lives.
    const done = Date.now() - accessTokenSeconds * 1000 - 60_000;
    const expired = loaded.filter((_, index) => index > 0 && loaded[index - 1]!.activeFrom < done);
    await deleteKeys(
      db,
      expired.map((key) => key.kid),
    );
    loaded = loaded.filter((key) => !expired.includes(key));
  };

  await transaction(db, async (tx) => {
    await lockKeys(tx);
    if ((await allKeys(tx)).length === 0) await create(tx, new Date());
  });
  await reload();

  return {
    jwks: () => ({ keys: loaded.map((key) => key.publicJwk) }),
    async sign(claims) {
      const key = loaded.find((candidate) => candidate.activeFrom <= Date.now()) ?? loaded.at(-1);
      if (!key) throw new Error('no signing key');
      // Without an id of its own, two tokens of one second would be the same, and a refresh must give a new one.
      return new SignJWT({ sid: claims.sessionId, role: claims.role, name: claims.name, jti: newId() })
        .setProtectedHeader({ alg: 'EdDSA', kid: key.kid, typ: 'JWT' })
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setSubject(claims.userId)
        .setIssuedAt()
        .setExpirationTime(`${accessTokenSeconds}s`)
        .sign(key.privateKey);
    },
    async rotate() {
      const kid = await transaction(db, async (tx) => {
        await lockKeys(tx);
        return create(tx, new Date(Date.now() + LEAD_MS));
      });
      await reload();
      return kid;
    },
    reload,
  };
}
