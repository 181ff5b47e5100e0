import { signedIn } from '../../../shared/auth/access.ts';
import {
  InvitationList,
  InvitationPage,
  InvitationPath,
  Member,
  MemberPath,
  NewInvitations,
  RoleChange,
  Room,
  RoomChange,
  RoomPath,
} from '../../../shared/contracts/chat.ts';
import { PageQuery } from '../../../shared/contracts/common.ts';
import { type Route, reply, routeFor } from '../../../shared/http/route.ts';
import type { ChatTools } from '../context.ts';
import { changeRole } from '../operations/change-role.ts';
import { changeRoom } from '../operations/change-room.ts';
import { exportRoom } from '../operations/export-room.ts';
import {
  acceptInvitation,
  declineInvitation,
  invite,
  listMyInvitations,
  listRoomInvitations,
  withdrawInvitation,
} from '../operations/invitations.ts';
import type { ChatTables } from '../store/tables.ts';
import { moderators, nobody, owners, theLearner } from './access.ts';

const route = routeFor<ChatTables>();

/** Settings, roles, invitations, export. */
export const governingRoutes = (tools: ChatTools): Route<ChatTables>[] => [
  route(
    {
      method: 'patch',
      path: '/rooms/{roomId}',
      summary: "Change a room's name and settings",
      description:
        'The owner changes everything, moderators `locked` and `slowModeSeconds`; name and archiving of a course’s room follow the course. In a direct room both may change `receipts`.',
      access: moderators,
      params: RoomPath,
      body: RoomChange,
      replies: { 200: { description: 'The room as it is now', schema: Room } },
    },
    async (context, { params, body }) =>
      reply(200, await changeRoom(context, tools, { ...params, change: body })),
  ),
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/export',
      summary: 'The whole room as NDJSON',
      description:
        'For its owner. One JSON value a line: `{type:"room", room}`, `{type:"message", message}` in the order of `seq`, and `{type:"end", messages, lastSeq}`, without which it is not whole.',
      access: owners,
      params: RoomPath,
      replies: { 200: { description: 'The room', content: 'application/x-ndjson' } },
    },
    async (context, { params }) =>
      new Response(await exportRoom(context, params.roomId), {
        headers: {
          'content-type': 'application/x-ndjson; charset=utf-8',
          'content-disposition': `attachment; filename="room-${params.roomId.toLowerCase()}.ndjson"`,
          'cache-control': 'no-store',
        },
      }),
  ),
  route(
    {
      method: 'patch',
      path: '/rooms/{roomId}/members/{userId}',
      summary: "Change a member's role",
      description: 'For the owner. In a group another can be made the owner; the owner then is a moderator.',
      access: owners,
      params: MemberPath,
      body: RoleChange,
      replies: { 200: { description: 'The member', schema: Member } },
    },
    async (context, { params, body }) => reply(200, await changeRole(context, { ...params, ...body })),
  ),
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/invitations',
      summary: 'Who is invited and has not answered',
      description: 'For moderators.',
      access: moderators,
      params: RoomPath,
      query: PageQuery,
      replies: { 200: { description: 'A page of invitations', schema: InvitationPage } },
    },
    async (context, { params, query }) =>
      reply(200, await listRoomInvitations(context, { ...params, ...query })),
  ),
  route(
    {
      method: 'post',
      path: '/rooms/{roomId}/invitations',
      summary: 'Invite people into a group',
      description: 'For its moderators. Members are left out; who is invited already stays so.',
      access: nobody,
      params: RoomPath,
      body: NewInvitations,
      idempotent: true,
      replies: { 201: { description: 'Their invitations', schema: InvitationList } },
    },
    async (context, { params, body }) => reply(201, await invite(context, tools, { ...params, ...body })),
  ),
  route(
    {
      method: 'delete',
      path: '/rooms/{roomId}/invitations/{userId}',
      summary: 'Take an invitation back',
      access: moderatorsWithout('not-found'),
      params: MemberPath,
      replies: { 204: { description: 'No longer invited' } },
    },
    async (context, { params }) => {
      await withdrawInvitation(context, params);
      return reply(204);
    },
  ),
  route(
    {
      method: 'get',
      path: '/invitations',
      summary: "The caller's open invitations",
      access: signedIn(),
      query: PageQuery,
      replies: { 200: { description: 'A page of invitations', schema: InvitationPage } },
    },
    async (context, { query }) => reply(200, await listMyInvitations(context, query)),
  ),
  route(
    {
      method: 'post',
      path: '/invitations/{invitationId}/accept',
      summary: 'Come into the group',
      access: theLearner,
      params: InvitationPath,
      replies: { 200: { description: 'The room', schema: Room } },
    },
    async (context, { params }) => reply(200, await acceptInvitation(context, params.invitationId)),
  ),
  route(
    {
      method: 'post',
      path: '/invitations/{invitationId}/decline',
      summary: 'Stay out of the group',
      access: theLearner,
      params: InvitationPath,
      replies: { 204: { description: 'No longer invited' } },
    },
    async (context, { params }) => {
      await declineInvitation(context, params.invitationId);
      return reply(204);
    },
  ),
];

/** Course rooms have no invitations, so that moderators find none to take back. */
function moderatorsWithout(outcome: 'not-found') {
  return signedIn({
    ...moderators.expect,
    courseTeacher: outcome,
    administrator: outcome,
  });
}
