import type { EphemeralStore } from './ephemeral-store.ts';

/** Gateways listen here; a message is the beginning of the paths that are to go, and perhaps a space and who sent it. */
export const PURGE_CHANNEL = 'gateway:purge';

/**
 * Tells every gateway that what it keeps of the paths that begin so is no longer true. Best effort: a gateway that can't
 * be reached goes by what the reply said about its time, so say a short one (`s-maxage`).
 */
export async function purgeGatewayCaches(store: EphemeralStore, pathPrefix: string): Promise<void> {
  await store.publish(PURGE_CHANNEL, pathPrefix).catch(() => {});
}
