import { ACTORS, type Access } from '../../../shared/auth/access.ts';
import { Message, RoomPath, WebhookMessage } from '../../../shared/contracts/chat.ts';
import {
  NewWebhook,
  RoomWebhookPath,
  WebhookList,
  WebhookPath,
  WebhookWithSecret,
} from '../../../shared/contracts/chat-moderation.ts';
import { type Route, reply, routeFor } from '../../../shared/http/route.ts';
import type { ChatTools } from '../context.ts';
import {
  addWebhook,
  authenticateWebhook,
  listWebhooks,
  postFromWebhook,
  removeWebhook,
  rotateWebhook,
} from '../operations/webhooks.ts';
import type { ChatTables } from '../store/tables.ts';
import { owners } from './access.ts';

const route = routeFor<ChatTables>();

/** Access tokens open nothing here: whoever has no secret gets the same answer. */
const secretOnly: Access = {
  token: 'none',
  expect: Object.fromEntries(ACTORS.map((actor) => [actor, 'unauthenticated'])) as Access['expect'],
};

/** Incoming webhooks: keeping them, and posting through them. */
export const webhookRoutes = (tools: ChatTools): Route<ChatTables>[] => [
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/webhooks',
      summary: "The room's incoming webhooks",
      description: 'For its owner. Secrets are not shown.',
      access: owners,
      params: RoomPath,
      replies: { 200: { description: 'All of them', schema: WebhookList } },
    },
    async (context, { params }) => reply(200, await listWebhooks(context, params.roomId)),
  ),
  route(
    {
      method: 'post',
      path: '/rooms/{roomId}/webhooks',
      summary: 'Let an integration write in the room',
      description: 'For its owner. The reply is the only one that has the secret.',
      access: owners,
      params: RoomPath,
      body: NewWebhook,
      replies: { 201: { description: 'The webhook with its secret', schema: WebhookWithSecret } },
    },
    async (context, { params, body }) => reply(201, await addWebhook(context, { ...params, ...body })),
  ),
  route(
    {
      method: 'post',
      path: '/rooms/{roomId}/webhooks/{webhookId}/rotate',
      summary: 'Give a webhook another secret',
      description: 'For the owner. The old secret stops working at once.',
      access: owners,
      params: RoomWebhookPath,
      replies: { 200: { description: 'The webhook with its new secret', schema: WebhookWithSecret } },
    },
    async (context, { params }) => reply(200, await rotateWebhook(context, params)),
  ),
  route(
    {
      method: 'delete',
      path: '/rooms/{roomId}/webhooks/{webhookId}',
      summary: 'Remove a webhook',
      description: 'For the owner. What came through it stays.',
      access: owners,
      params: RoomWebhookPath,
      replies: { 204: { description: 'Gone' } },
    },
    async (context, { params }) => {
      await removeWebhook(context, params);
      return reply(204);
    },
  ),
  route(
    {
      method: 'post',
      path: '/webhooks/{webhookId}',
      summary: 'Write in a room as an integration',
      description:
        'With the secret of the webhook in `Authorization: Bearer <secret>` or `X-Webhook-Secret`. The same `clientId` again gives the first result.',
      access: secretOnly,
      params: WebhookPath,
      body: WebhookMessage,
      replies: {
        201: { description: 'The message with its number', schema: Message },
        200: { description: 'The message that this clientId has sent before', schema: Message },
      },
    },
    async (context, { params, body, request }) => {
      const webhook = await authenticateWebhook(context, params.webhookId, request.headers);
      const { message, created } = await postFromWebhook(context, tools, webhook, body);
      return reply(created ? 201 : 200, message);
    },
    (context, { params, request }) => authenticateWebhook(context, params.webhookId, request.headers),
  ),
];
