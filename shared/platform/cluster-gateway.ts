import { z } from 'zod';
import { openRedis } from '../adapters/ephemeral-store/redis.ts';
import type { TokenVerifier } from '../auth/tokens.ts';
import type { Log } from '../observability/log.ts';
import type { EphemeralStore } from '../ports/ephemeral-store.ts';
import { Addresses, type Environment, parseEnvironment } from './environment.ts';
import { tokenVerifier } from './platform.ts';

/** No request waits in the gateway for the shared store any longer: the service behind it asks again. Milliseconds. */
const GATEWAY_STORE_MS = 50;

/** What the gateway process reads from its environment beside its own configuration. */
export const GatewayProcessEnvironment = z.object({
  REDIS_URL: z.string().regex(/^rediss?:\/\//),
  AUTH_URL: Addresses,
});

/** What the gateway process needs: the shared store and the token check. */
export async function openClusterGateway(
  env: Environment,
  log: Log,
): Promise<{
  ephemeral: EphemeralStore;
  tokens: TokenVerifier;
  close(): Promise<void>;
}> {
  const config = parseEnvironment(GatewayProcessEnvironment, env);
  const ephemeral = openRedis({ url: config.REDIS_URL, log });
  const tokens = tokenVerifier(config.AUTH_URL, ephemeral, { storeMs: GATEWAY_STORE_MS });
  return {
    ephemeral,
    tokens,
    async close() {
      await tokens.close();
      await ephemeral.close();
    },
  };
}
