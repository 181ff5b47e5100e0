import { purgeGatewayCaches } from '../../../shared/ports/gateway-purge.ts';
import type { AuthTools } from '../context.ts';

/** Publishes another signing key, everywhere at once; it signs from half a minute on. Returns its id. */
export async function rotateKeys({
  keys,
  ephemeral,
}: Pick<AuthTools, 'keys' | 'ephemeral'>): Promise<string> {
  const kid = await keys.rotate();
  await purgeGatewayCaches(ephemeral, '/.well-known/jwks.json');
  return kid;
}
