import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Message, WebhookMessage } from '../../../shared/contracts/chat.ts';
import type { Webhook, WebhookWithSecret } from '../../../shared/contracts/chat-moderation.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import { newId } from '../../../shared/ids.ts';
import type { TokenDecision } from '../../../shared/ports/ephemeral-store.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { nameBot } from '../store/people.ts';
import { findRoomState } from '../store/rooms.ts';
import {
  deleteWebhook,
  findWebhook,
  insertWebhook,
  listWebhooks as listRows,
  noteWebhookUse,
  rotateWebhook as replaceSecret,
  type WebhookRow,
} from '../store/webhooks.ts';
import { noteAudit } from './audit.ts';
import { refuseBadText } from './posting-rules.ts';
import { ownedRoom, refuseArchived } from './room-access.ts';
import { postMessage } from './send-message.ts';

const MOST = 20;
/** Messages of one webhook: a burst, then so many a second. */
const BURST = 30;
const PER_SECOND = 1;

/** The room's webhooks, without their secrets. For its owner. */
export async function listWebhooks(context: ChatContext, roomId: string): Promise<{ items: Webhook[] }> {
  const room = await ownedRoom(context, roomId);
  return { items: (await listRows(context.db, room.id)).map(toWebhook) };
}

/**
 * Opens a door for an integration: whoever has the secret may write in the room under this name. The secret is
 * shown here once; its digest is kept. For the room's owner; direct rooms have none: `forbidden`.
 */
export async function addWebhook(
  context: ChatContext,
  input: { roomId: string; name: string },
): Promise<WebhookWithSecret> {
  return context.transaction(async (tx) => {
    const room = await ownedRoom(tx, input.roomId);
    refuseArchived(room);
    if ((await listRows(tx.db, room.id)).length >= MOST)
      throw new Problem('conflict', `A room has at most ${MOST} webhooks.`);
    const { secret, digest } = newSecret();
    const row: WebhookRow = {
      id: newId(),
      room_id: room.id,
      name: input.name,
      secret_digest: digest,
      created_by: tx.caller.userId,
      created_at: new Date(),
      rotated_at: null,
      last_used_at: null,
    };
    await insertWebhook(tx.db, row);
    await nameBot(tx.db, row.id, row.name);
    await noteAudit(tx, room.id, 'webhook-added', { targetId: row.id });
    return { ...toWebhook(row), secret };
  });
}

/** Gives a webhook another secret; the old one stops working at once. For the room's owner. */
export async function rotateWebhook(
  context: ChatContext,
  input: { roomId: string; webhookId: string },
): Promise<WebhookWithSecret> {
  return context.transaction(async (tx) => {
    const room = await ownedRoom(tx, input.roomId);
    const { secret, digest } = newSecret();
    const row = await replaceSecret(tx.db, room.id, input.webhookId, digest, new Date());
    if (!row) throw notFound('webhook');
    await noteAudit(tx, room.id, 'webhook-rotated', { targetId: row.id });
    return { ...toWebhook(row), secret };
  });
}

/** Shuts the door; what came through it stays. For the room's owner. */
export async function removeWebhook(
  context: ChatContext,
  input: { roomId: string; webhookId: string },
): Promise<void> {
  await context.transaction(async (tx) => {
    const room = await ownedRoom(tx, input.roomId);
    const name = await deleteWebhook(tx.db, room.id, input.webhookId);
    if (name === undefined) throw notFound('webhook');
    await noteAudit(tx, room.id, 'webhook-removed', { targetId: input.webhookId, details: { name } });
  });
}

/**
 * The webhook whose secret the caller has, from `Authorization: Bearer <secret>` or `X-Webhook-Secret`. Throws
 * `unauthenticated`, whether there is such a webhook or not.
 */
export async function authenticateWebhook(
  context: ChatContext,
  webhookId: string,
  headers: Headers,
): Promise<WebhookRow> {
  const secret =
    headers.get('x-webhook-secret') ?? headers.get('authorization')?.match(/^Bearer +(\S+)$/i)?.[1] ?? '';
  const webhook = await findWebhook(context.db, webhookId);
  const digest = digestOf(secret);
  if (!webhook || !timingSafeEqual(digest, webhook.secret_digest))
    throw new Problem('unauthenticated', "The webhook's secret is missing or wrong.");
  return webhook;
}

/**
 * Says something in the webhook's room under the webhook's name. The same `clientId` again gives the first result.
 * Throws `rate-limited`, `content-refused`, `conflict` (archived), `validation-failed` (replyTo).
 */
export async function postFromWebhook(
  context: ChatContext,
  tools: ChatTools,
  webhook: WebhookRow,
  input: WebhookMessage,
): Promise<{ message: Message; created: boolean }> {
  await limit(tools, webhook.id);
  const room = await findRoomState(context.db, webhook.room_id);
  if (!room || room.archived) throw new Problem('conflict', 'The room is archived: it is read-only.');
  await refuseBadText(context.db, tools.filter, webhook.room_id, input.text);
  const posted = await postMessage(context, tools, {
    author: { id: webhook.id, name: webhook.name, role: 'learner', exempt: true },
    traceparent: context.origin.traceparent,
    input: {
      roomId: webhook.room_id,
      clientId: input.clientId ?? newId(),
      body: input.text,
      replyTo: input.replyTo ?? null,
    },
  });
  await noteWebhookUse(context.db, webhook.id, new Date());
  return posted;
}

/** Throws `rate-limited`. While the store is away nobody is limited, as in sending. */
async function limit(tools: ChatTools, webhookId: string): Promise<void> {
  const decision = await tools.ephemeral
    .takeTokens(`chat:webhook:${webhookId}`, {
      capacity: BURST * tools.limitScale,
      perSecond: PER_SECOND * tools.limitScale,
    })
    .catch((): TokenDecision => ({ allowed: true, remaining: 0, resetMs: 0 }));
  if (decision.allowed) return;
  throw new Problem('rate-limited', 'The webhook is posting too fast. Wait a moment.', {
    retryAfter: decision.resetMs / 1000,
  });
}

function newSecret(): { secret: string; digest: Uint8Array } {
  const secret = randomBytes(32).toString('base64url');
  return { secret, digest: digestOf(secret) };
}

/** 256 random bits need no slow hash. */
const digestOf = (secret: string): Uint8Array => new Uint8Array(createHash('sha256').update(secret).digest());

const toWebhook = (row: WebhookRow): Webhook => ({
  id: row.id,
  roomId: row.room_id,
  name: row.name,
  path: `/api/chat/webhooks/${row.id}`,
  createdAt: row.created_at.toISOString(),
  rotatedAt: row.rotated_at?.toISOString() ?? null,
  lastUsedAt: row.last_used_at?.toISOString() ?? null,
});
