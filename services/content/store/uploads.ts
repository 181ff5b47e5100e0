import { sql } from 'kysely';
import type { Db } from './tables.ts';

/** An upload whose heartbeat is older than this, in seconds, has lost its process. */
export const STALE_SECONDS = 120;

export async function insertUpload(
  db: Db,
  upload: { id: string; objectKey: string; ownerId: string },
): Promise<void> {
  await db
    .insertInto('uploads')
    .values({ id: upload.id, object_key: upload.objectKey, owner_id: upload.ownerId })
    .execute();
}

export async function touchUpload(db: Db, id: string): Promise<void> {
  await sql`update uploads set heartbeat_at = now() where id = ${id}`.execute(db);
}

/** Ends an upload. False if it had been ended before: by its own transaction, or by the sweep. */
export async function deleteUpload(db: Db, id: string): Promise<boolean> {
  const result = await db.deleteFrom('uploads').where('id', '=', id).executeTakeFirst();
  return Number(result.numDeletedRows) > 0;
}

/** Ends what nobody works on any more. Resolves with the keys that may have objects. */
export async function deleteStaleUploads(db: Db): Promise<string[]> {
  const { rows } = await sql<{ object_key: string }>`
    delete from uploads where id in (
      select id from uploads where heartbeat_at < now() - ${STALE_SECONDS}::int * interval '1 second'
      order by heartbeat_at limit 100 for update skip locked)
    returning object_key`.execute(db);
  return rows.map((row) => row.object_key);
}
