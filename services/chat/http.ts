import { z } from 'zod';
import { signedIn } from '../../shared/auth/access.ts';
import {
  ChangeList,
  ChangesQuery,
  HeldNotice,
  HistoryQuery,
  MarkRead,
  MemberList,
  MemberPage,
  MemberPath,
  Message,
  MessageList,
  NewMembers,
  NewMessage,
  NewRoom,
  Room,
  RoomPage,
  RoomPath,
} from '../../shared/contracts/chat.ts';
import { Id, PageQuery } from '../../shared/contracts/common.ts';
import { Problem } from '../../shared/errors.ts';
import { type Route, reply, routeFor } from '../../shared/http/route.ts';
import type { ChatTools } from './context.ts';
import { lookers, members, nobody } from './http/access.ts';
import { moderationRoutes } from './http/moderation.ts';
import { governingRoutes } from './http/rooms.ts';
import { threadRoutes } from './http/threads.ts';
import { webhookRoutes } from './http/webhooks.ts';
import { addMembers } from './operations/add-members.ts';
import { createRoom } from './operations/create-room.ts';
import { getRoom } from './operations/get-room.ts';
import { listChanges } from './operations/list-changes.ts';
import { listMembers } from './operations/list-members.ts';
import { listMessages } from './operations/list-messages.ts';
import { listRooms } from './operations/list-rooms.ts';
import { markRead } from './operations/mark-read.ts';
import { removeMember } from './operations/remove-member.ts';
import { sendMessage } from './operations/send-message.ts';
import type { ChatTables } from './store/tables.ts';

const route = routeFor<ChatTables>();

export const chatRoutes = (tools: ChatTools): Route<ChatTables>[] => [
  ...roomRoutes(),
  ...messageRoutes(tools),
  ...memberRoutes(tools),
  ...governingRoutes(tools),
  ...threadRoutes(tools),
  ...moderationRoutes(tools),
  ...webhookRoutes(tools),
];

const roomRoutes = (): Route<ChatTables>[] => [
  route(
    {
      method: 'get',
      path: '/rooms',
      summary: "The caller's rooms, last active first",
      access: signedIn(),
      query: PageQuery.extend({
        courseId: Id.optional(),
        archived: z.enum(['true', 'false']).optional(),
      }),
      replies: { 200: { description: 'A page of rooms', schema: RoomPage } },
    },
    async (context, { query: { archived, ...query } }) =>
      reply(
        200,
        await listRooms(context, {
          ...query,
          archived: archived === undefined ? undefined : archived === 'true',
        }),
      ),
  ),
  route(
    {
      method: 'post',
      path: '/rooms',
      summary: 'Open a group or a direct room',
      description: 'A pair has one direct room: when it exists already, it is the reply.',
      access: signedIn(),
      body: NewRoom,
      idempotent: true,
      replies: {
        201: { description: 'The new room', schema: Room },
        200: { description: 'The direct room that was there', schema: Room },
      },
    },
    async (context, { body }) => {
      const { room, created } = await createRoom(context, body);
      return reply(created ? 201 : 200, room);
    },
  ),
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}',
      summary: 'One room',
      access: lookers,
      params: RoomPath,
      etag: true,
      replies: { 200: { description: 'The room as the caller sees it', schema: Room } },
    },
    async (context, { params }) => reply(200, await getRoom(context, params.roomId)),
  ),
];

const messageRoutes = (tools: ChatTools): Route<ChatTables>[] => [
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/messages',
      summary: 'A window into the history',
      description: 'In the order of `seq`: right before a number, right after one, or the newest.',
      access: lookers,
      params: RoomPath,
      query: HistoryQuery,
      replies: { 200: { description: 'Messages in the order of seq', schema: MessageList } },
    },
    async (context, { params, query }) => reply(200, await listMessages(context, { ...params, ...query })),
  ),
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/changes',
      summary: 'Messages changed since a number',
      description:
        'For who was away: edits, deletions, reactions, replies and pins. Each message once, as it is now, in the order of its last change.',
      access: lookers,
      params: RoomPath,
      query: ChangesQuery,
      replies: { 200: { description: 'A page of changed messages', schema: ChangeList } },
    },
    async (context, { params, query }) => reply(200, await listChanges(context, { ...params, ...query })),
  ),
  route(
    {
      method: 'post',
      path: '/rooms/{roomId}/messages',
      summary: 'Send a message',
      access: members,
      params: RoomPath,
      body: NewMessage,
      idempotent: true,
      replies: {
        201: { description: 'The message with its number', schema: Message },
        200: { description: 'The message that this clientId has sent before', schema: Message },
        202: { description: 'Held for a moderator by the word filter', schema: HeldNotice },
      },
    },
    async (context, { params, body }) => {
      try {
        const { message, created } = await sendMessage(context, tools, { ...params, ...body });
        return reply(created ? 201 : 200, message);
      } catch (error) {
        // No failure: what is held must be committed, with an Idempotency-Key too.
        if (!(error instanceof Problem && error.code === 'held-for-review')) throw error;
        return reply(202, { held: true, clientId: body.clientId, detail: error.detail });
      }
    },
  ),
  route(
    {
      method: 'put',
      path: '/rooms/{roomId}/read',
      summary: 'Mark as read up to a number',
      description: 'Moves forward only.',
      access: members,
      params: RoomPath,
      body: MarkRead,
      replies: { 204: { description: 'Marked' } },
    },
    async (context, { params, body }) => {
      await markRead(context, tools, { ...params, ...body });
      return reply(204);
    },
  ),
];

const memberRoutes = (tools: ChatTools): Route<ChatTables>[] => [
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/members',
      summary: 'Who is in the room, in the order of joining',
      access: lookers,
      params: RoomPath,
      query: PageQuery,
      replies: { 200: { description: 'A page of members', schema: MemberPage } },
    },
    async (context, { params, query }) => reply(200, await listMembers(context, { ...params, ...query })),
  ),
  route(
    {
      method: 'post',
      path: '/rooms/{roomId}/members',
      summary: 'Take others into a group',
      description: 'For its owner. The members of course rooms follow enrolment.',
      access: nobody,
      params: RoomPath,
      body: NewMembers,
      idempotent: true,
      replies: { 201: { description: 'Those members', schema: MemberList } },
    },
    async (context, { params, body }) => reply(201, await addMembers(context, { ...params, ...body })),
  ),
  route(
    {
      method: 'delete',
      path: '/rooms/{roomId}/members/{userId}',
      summary: 'Leave a group, or as its moderator take somebody out of it',
      access: nobody,
      params: MemberPath,
      replies: { 204: { description: 'No longer a member' } },
    },
    async (context, { params }) => {
      await removeMember(context, tools, params);
      return reply(204);
    },
  ),
];
