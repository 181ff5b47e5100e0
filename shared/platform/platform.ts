import { createTokenVerifier, remoteKeys, type TokenVerifier } from '../auth/tokens.ts';
import type { ServiceName } from '../contracts/common.ts';
import type { KernelTables } from '../db/kernel.ts';
import type { EphemeralStore } from '../ports/ephemeral-store.ts';
import type { ServiceDeps } from '../service.ts';

/** What stands behind the services of one process. */
export interface Platform {
  /** Everything one service needs. */
  depsFor<S extends KernelTables>(service: ServiceName): Promise<ServiceDeps<S>>;
  /** What the gateway needs. */
  ephemeral: EphemeralStore;
  tokens: TokenVerifier;
  close(): Promise<void>;
}

/** Tokens are verified against the auth service's published keys in every mode. `authUrls` are those of its replicas. */
export const tokenVerifier = (
  authUrls: readonly string[],
  ephemeral: EphemeralStore,
  options?: { storeMs?: number },
): TokenVerifier =>
  createTokenVerifier(remoteKeys(authUrls.map((url) => `${url}/.well-known/jwks.json`)), ephemeral, options);
