import type { Kysely, Selectable } from 'kysely';
import type { ChatTables } from './tables.ts';

export type WebhookRow = Selectable<ChatTables['webhooks']>;

export const listWebhooks = (db: Kysely<ChatTables>, roomId: string): Promise<WebhookRow[]> =>
  db.selectFrom('webhooks').selectAll().where('room_id', '=', roomId).orderBy('id').execute();

export const findWebhook = (db: Kysely<ChatTables>, id: string): Promise<WebhookRow | undefined> =>
  db.selectFrom('webhooks').selectAll().where('id', '=', id).executeTakeFirst();

export async function insertWebhook(db: Kysely<ChatTables>, webhook: WebhookRow): Promise<void> {
  await db.insertInto('webhooks').values(webhook).execute();
}

/** The webhook with its new secret, or undefined if it is not in the room. */
export const rotateWebhook = (
  db: Kysely<ChatTables>,
  roomId: string,
  id: string,
  secretDigest: Uint8Array,
  at: Date,
): Promise<WebhookRow | undefined> =>
  db
    .updateTable('webhooks')
    .set({ secret_digest: secretDigest, rotated_at: at })
    .where('id', '=', id)
    .where('room_id', '=', roomId)
    .returningAll()
    .executeTakeFirst();

/** Its name, if it was in the room. */
export async function deleteWebhook(
  db: Kysely<ChatTables>,
  roomId: string,
  id: string,
): Promise<string | undefined> {
  const row = await db
    .deleteFrom('webhooks')
    .where('id', '=', id)
    .where('room_id', '=', roomId)
    .returning('name')
    .executeTakeFirst();
  return row?.name;
}

export async function noteWebhookUse(db: Kysely<ChatTables>, id: string, at: Date): Promise<void> {
  await db.updateTable('webhooks').set({ last_used_at: at }).where('id', '=', id).execute();
}
