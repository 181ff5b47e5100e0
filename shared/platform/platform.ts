import { createTokenVerifier, remoteKeys } from '../auth/tokens.ts';
import type { ServiceName } from '../contracts/common.ts';
import type { KernelTables } from '../db/kernel.ts';
import type { Log } from '../observability/log.ts';
import type { EphemeralStore } from '../ports/ephemeral-store.ts';
import type { ServiceDeps } from '../service.ts';

/** A mode of running: which adapters stand behind the ports. `embedded.ts` and `cluster.ts` are the two there are. */
export interface Platform {
  /** Everything one service needs. */
  depsFor<S extends KernelTables>(service: ServiceName): Promise<ServiceDeps<S>>;
  /** What the gateway needs. */
  ephemeral: EphemeralStore;
  close(): Promise<void>;
}

/** Tokens are verified against the auth service's published keys in every mode. `authUrl` is its own address. */
export const tokenVerifier = (authUrl: string, ephemeral: EphemeralStore) =>
  createTokenVerifier(remoteKeys(`${authUrl}/.well-known/jwks.json`), ephemeral);

export type MakeLog = (service: string) => Log;
