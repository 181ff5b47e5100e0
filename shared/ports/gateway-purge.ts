import type { EphemeralStore } from './ephemeral-store.ts';

/** Gateways listen here; a message is the beginning of the paths that are to go, and perhaps a space and who sent it. */
export const PURGE_CHANNEL = 'gateway:purge';

/** A message takes a millisecond or so to get everywhere. */
const ON_ITS_WAY_MS = 20;

/**
 * Tells every gateway that what it keeps of the paths that begin so is no longer true. Best effort: a gateway that can't
 * be reached goes by what the reply said about its time, so say a short one (`s-maxage`). Takes a moment, so that whoever
 * hears of the change afterwards finds it everywhere.
 */
export async function purgeGatewayCaches(store: EphemeralStore, pathPrefix: string): Promise<void> {
  try {
    await store.publish(PURGE_CHANNEL, pathPrefix);
    await new Promise((resolve) => setTimeout(resolve, ON_ITS_WAY_MS));
  } catch {
    // The store is away.
  }
}
