import { onlyRoles } from '../../../shared/auth/access.ts';
import { MemberPath, Message, RoomPath } from '../../../shared/contracts/chat.ts';
import {
  AuditPage,
  FilterWord,
  FilterWordPage,
  FilterWordPath,
  HeldMessagePage,
  HeldMessagePath,
  NewFilterWord,
  NewSanction,
  Report,
  ReportDecision,
  ReportPage,
  ReportPath,
  ReportQuery,
  RoomFilterWordPath,
  Sanction,
  SanctionPage,
} from '../../../shared/contracts/chat-moderation.ts';
import { PageQuery } from '../../../shared/contracts/common.ts';
import { type Route, reply, routeFor } from '../../../shared/http/route.ts';
import type { ChatTools } from '../context.ts';
import { listAudit } from '../operations/audit.ts';
import { addWord, listWords, removeWord } from '../operations/filter-words.ts';
import { decideReport, listAllReports, listRoomReports } from '../operations/reports.ts';
import { approveHeld, listHeldMessages, rejectHeld } from '../operations/review-held.ts';
import { liftSanction, listSanctions, sanction } from '../operations/sanctions.ts';
import type { ChatTables } from '../store/tables.ts';
import { moderators } from './access.ts';

const route = routeFor<ChatTables>();
const administrators = onlyRoles(['admin']);

/** Mutes and bans, the word filter and what it holds, reports, the audit list. */
export const moderationRoutes = (tools: ChatTools): Route<ChatTables>[] => [
  ...sanctionRoutes(tools),
  ...filterRoutes(tools),
  ...reviewRoutes(tools),
  ...reportRoutes(tools),
  route(
    {
      method: 'get',
      path: '/audit',
      summary: 'What moderators have done anywhere, newest first',
      access: administrators,
      query: PageQuery,
      replies: { 200: { description: 'A page of entries', schema: AuditPage } },
    },
    async (context, { query }) => reply(200, await listAudit(context, query)),
  ),
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/audit',
      summary: 'What moderators have done, newest first',
      description: 'For moderators.',
      access: moderators,
      params: RoomPath,
      query: PageQuery,
      replies: { 200: { description: 'A page of entries', schema: AuditPage } },
    },
    async (context, { params, query }) => reply(200, await listAudit(context, { ...params, ...query })),
  ),
];

const sanctionRoutes = (tools: ChatTools): Route<ChatTables>[] => [
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/sanctions',
      summary: 'Who is muted or banned',
      description: 'For moderators.',
      access: moderators,
      params: RoomPath,
      query: PageQuery,
      replies: {
        200: { description: 'A page of mutes and bans in force, newest first', schema: SanctionPage },
      },
    },
    async (context, { params, query }) => reply(200, await listSanctions(context, { ...params, ...query })),
  ),
  ...(['mute', 'ban'] as const).flatMap((kind) => [
    route(
      {
        method: 'put',
        path: `/rooms/{roomId}/${kind}s/{userId}`,
        summary: kind === 'mute' ? 'Mute somebody in the room' : 'Ban somebody from the room',
        description:
          kind === 'mute'
            ? 'They read and neither write nor react. For moderators, towards lower ranks.'
            : 'They are out at once and can not come back before it ends. For moderators, towards lower ranks.',
        access: moderators,
        params: MemberPath,
        body: NewSanction,
        replies: { 200: { description: 'In force now', schema: Sanction } },
      },
      async (context, { params, body }) =>
        reply(200, await sanction(context, tools, { ...params, ...body, kind })),
    ),
    route(
      {
        method: 'delete',
        path: `/rooms/{roomId}/${kind}s/{userId}`,
        summary: kind === 'mute' ? 'Lift a mute' : 'Lift a ban',
        description: kind === 'ban' ? 'Who was a member is one again.' : 'For moderators.',
        access: moderators,
        params: MemberPath,
        replies: { 204: { description: 'Not in force' } },
      },
      async (context, { params }) => {
        await liftSanction(context, { ...params, kind });
        return reply(204);
      },
    ),
  ]),
];

const filterRoutes = (tools: ChatTools): Route<ChatTables>[] => [
  route(
    {
      method: 'get',
      path: '/filter-words',
      summary: "The platform's word filter",
      access: administrators,
      query: PageQuery,
      replies: { 200: { description: 'A page of words', schema: FilterWordPage } },
    },
    async (context, { query }) => reply(200, await listWords(context, query)),
  ),
  route(
    {
      method: 'post',
      path: '/filter-words',
      summary: 'Filter a word in every room',
      description: 'A word that is there already gets the new action.',
      access: administrators,
      body: NewFilterWord,
      replies: { 201: { description: 'The word', schema: FilterWord } },
    },
    async (context, { body }) => reply(201, await addWord(context, tools, body)),
  ),
  route(
    {
      method: 'delete',
      path: '/filter-words/{wordId}',
      summary: 'Filter a word no longer',
      access: administrators,
      params: FilterWordPath,
      replies: { 204: { description: 'Gone' } },
    },
    async (context, { params }) => {
      await removeWord(context, tools, params);
      return reply(204);
    },
  ),
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/filter-words',
      summary: "The room's own word filter",
      description: 'For moderators.',
      access: moderators,
      params: RoomPath,
      query: PageQuery,
      replies: { 200: { description: 'A page of words', schema: FilterWordPage } },
    },
    async (context, { params, query }) => reply(200, await listWords(context, { ...params, ...query })),
  ),
  route(
    {
      method: 'post',
      path: '/rooms/{roomId}/filter-words',
      summary: 'Filter a word in this room',
      description: 'For moderators. A word that is there already gets the new action.',
      access: moderators,
      params: RoomPath,
      body: NewFilterWord,
      replies: { 201: { description: 'The word', schema: FilterWord } },
    },
    async (context, { params, body }) => reply(201, await addWord(context, tools, { ...params, ...body })),
  ),
  route(
    {
      method: 'delete',
      path: '/rooms/{roomId}/filter-words/{wordId}',
      summary: 'Filter a word in this room no longer',
      access: moderators,
      params: RoomFilterWordPath,
      replies: { 204: { description: 'Gone' } },
    },
    async (context, { params }) => {
      await removeWord(context, tools, params);
      return reply(204);
    },
  ),
];

const reviewRoutes = (tools: ChatTools): Route<ChatTables>[] => [
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/held',
      summary: 'Messages that wait for a moderator, oldest first',
      access: moderators,
      params: RoomPath,
      query: PageQuery,
      replies: { 200: { description: 'A page of held messages', schema: HeldMessagePage } },
    },
    async (context, { params, query }) =>
      reply(200, await listHeldMessages(context, { ...params, ...query })),
  ),
  route(
    {
      method: 'post',
      path: '/held/{heldId}/approve',
      summary: 'Let a held message through',
      description: "It is sent now, as its author's.",
      access: moderators,
      params: HeldMessagePath,
      replies: { 201: { description: 'The message', schema: Message } },
    },
    async (context, { params }) => reply(201, await approveHeld(context, tools, params.heldId)),
  ),
  route(
    {
      method: 'post',
      path: '/held/{heldId}/reject',
      summary: 'Throw a held message away',
      access: moderators,
      params: HeldMessagePath,
      replies: { 204: { description: 'Gone' } },
    },
    async (context, { params }) => {
      await rejectHeld(context, params.heldId);
      return reply(204);
    },
  ),
];

const reportRoutes = (tools: ChatTools): Route<ChatTables>[] => [
  route(
    {
      method: 'get',
      path: '/reports',
      summary: 'Reported messages of all rooms, oldest first',
      access: administrators,
      query: ReportQuery,
      replies: { 200: { description: 'A page of reports', schema: ReportPage } },
    },
    async (context, { query }) => reply(200, await listAllReports(context, query)),
  ),
  route(
    {
      method: 'get',
      path: '/rooms/{roomId}/reports',
      summary: 'Reported messages of the room, oldest first',
      description: 'For moderators.',
      access: moderators,
      params: RoomPath,
      query: ReportQuery,
      replies: { 200: { description: 'A page of reports', schema: ReportPage } },
    },
    async (context, { params, query }) => reply(200, await listRoomReports(context, { ...params, ...query })),
  ),
  route(
    {
      method: 'post',
      path: '/reports/{reportId}/decision',
      summary: 'Dismiss a report, or delete the message',
      description:
        'For the moderators of its room, and administrators. Decides all open reports of the message.',
      access: moderators,
      params: ReportPath,
      body: ReportDecision,
      replies: { 200: { description: 'The report as decided', schema: Report } },
    },
    async (context, { params, body }) =>
      reply(200, await decideReport(context, tools, { ...params, ...body })),
  ),
];
