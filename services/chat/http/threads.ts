import { signedIn } from '../../../shared/auth/access.ts';
import {
  MessagePage,
  MessagePath,
  MessageVersionPage,
  RoomMessagePath,
  RoomPath,
  SearchQuery,
} from '../../../shared/contracts/chat.ts';
import { NewReport, Report } from '../../../shared/contracts/chat-moderation.ts';
import { PageQuery } from '../../../shared/contracts/common.ts';
import { type Route, reply, routeFor } from '../../../shared/http/route.ts';
import type { ChatTools } from '../context.ts';
import { changePin, listPins } from '../operations/pins.ts';
import { readThread } from '../operations/read-thread.ts';
import { readVersions } from '../operations/read-versions.ts';
import { reportMessage } from '../operations/reports.ts';
import { searchMessages } from '../operations/search-messages.ts';
import type { ChatTables } from '../store/tables.ts';
import { lookers, members, moderators } from './access.ts';

const route = routeFor<ChatTables>();

/** Around messages: replies, pins, versions, reports, search. */
export const threadRoutes = (tools: ChatTools): Route<ChatTables>[] => [
  route(
    {
      method: 'get',
      path: '/search',
      summary: 'Search messages, newest first',
      description:
        'In all rooms of the caller, or in one. Words must all occur (`"in this order"`, `or`, `-without`); there is no stemming.',
      access: signedIn(),
      query: SearchQuery,
      replies: { 200: { description: 'A page of messages', schema: MessagePage } },
    },
    async (context, { query }) => reply(200, await searchMessages(context, query)),
  ),
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/messages/{messageId}/replies',
      summary: 'The replies to a message, in the order of seq',
      access: lookers,
      params: RoomMessagePath,
      query: PageQuery,
      replies: { 200: { description: 'A page of messages', schema: MessagePage } },
    },
    async (context, { params, query }) => reply(200, await readThread(context, { ...params, ...query })),
  ),
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/pins',
      summary: 'Pinned messages, pinned last first',
      access: lookers,
      params: RoomPath,
      query: PageQuery,
      replies: { 200: { description: 'A page of messages', schema: MessagePage } },
    },
    async (context, { params, query }) => reply(200, await listPins(context, { ...params, ...query })),
  ),
  ...(['put', 'delete'] as const).map((method) =>
    route(
      {
        method,
        path: '/rooms/{roomId}/pins/{messageId}',
        summary: method === 'put' ? 'Pin a message' : 'Take the pin of a message away',
        description: 'For moderators; in a direct room for both.',
        access: moderators,
        params: RoomMessagePath,
        replies: { 204: { description: 'Done, or it was so already' } },
      },
      async (context, { params }) => {
        await changePin(context, tools, { ...params, pinned: method === 'put' });
        return reply(204);
      },
    ),
  ),
  route(
    {
      method: 'get',
      path: '/messages/{messageId}/history',
      summary: 'What a message has said, from the first version on',
      description: 'For its author and moderators. A deleted message has no versions.',
      access: lookers,
      params: MessagePath,
      query: PageQuery,
      replies: { 200: { description: 'A page of versions', schema: MessageVersionPage } },
    },
    async (context, { params, query }) => reply(200, await readVersions(context, { ...params, ...query })),
  ),
  route(
    {
      method: 'post',
      path: '/messages/{messageId}/reports',
      summary: 'Report a message to the moderators',
      access: members,
      params: MessagePath,
      body: NewReport,
      replies: {
        201: { description: 'The report', schema: Report },
        200: { description: 'The report that the caller has made before', schema: Report },
      },
    },
    async (context, { params, body }) => {
      const { report, created } = await reportMessage(context, { ...params, ...body });
      return reply(created ? 201 : 200, report);
    },
  ),
];
