import type { Context } from '../../../shared/http/context.ts';
import type { ObjectStore } from '../../../shared/ports/object-store.ts';
import { claimDoomed, doomNow, forgetDoomed } from '../store/doomed-objects.ts';
import type { ContentTables } from '../store/tables.ts';
import { deleteStaleUploads } from '../store/uploads.ts';

/** Removes the objects that nothing refers to any more. What fails comes due again in a minute. */
export async function removeDoomedObjects(
  context: Context<ContentTables>,
  objects: ObjectStore,
): Promise<number> {
  const keys = await claimDoomed(context.db, 50);
  for (const key of keys) {
    await objects.delete(key);
    await forgetDoomed(context.db, key);
  }
  return keys.length;
}

/** Clears up after uploads whose process died: their objects, parts of objects, and rows. */
export async function sweepUploads(context: Context<ContentTables>, objects: ObjectStore): Promise<void> {
  await context.transaction(async (tx) => doomNow(tx.db, await deleteStaleUploads(tx.db)));
  await removeDoomedObjects(context, objects);
}

/** Removes objects soon, without keeping the caller waiting: they are written down, so the sweep finishes the job. */
export function removeSoon(context: Context<ContentTables>, objects: ObjectStore): void {
  removeDoomedObjects(context, objects).catch((error: unknown) =>
    context.log.warn({ reason: String(error) }, 'objects not removed yet; the sweep will do it'),
  );
}
