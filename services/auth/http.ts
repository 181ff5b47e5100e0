import { z } from 'zod';
import { anyone, onlyRoles, signedIn } from '../../shared/auth/access.ts';
import {
  ChangePassword,
  ChangeUser,
  EmailOnly,
  Login,
  ManagedUser,
  Refresh,
  Registration,
  ResetPassword,
  Session,
  type Tokens,
  Tokens as TokensSchema,
  UserReply,
  VerifyEmail,
} from '../../shared/contracts/auth.ts';
import { Id, PageQuery, page, Role } from '../../shared/contracts/common.ts';
import { Problem } from '../../shared/errors.ts';
import { type JsonReply, type Route, reply, routeFor } from '../../shared/http/route.ts';
import type { AuthTools } from './context.ts';
import { changeUser } from './operations/change-user.ts';
import { endOwnSession, logout } from './operations/end-session.ts';
import { getMe } from './operations/get-me.ts';
import { listSessions } from './operations/list-sessions.ts';
import { listUsers } from './operations/list-users.ts';
import { login } from './operations/login.ts';
import { changePassword, forgotPassword, resetPassword } from './operations/passwords.ts';
import { refreshSession } from './operations/refresh-session.ts';
import { register } from './operations/register.ts';
import { rotateKeys } from './operations/rotate-keys.ts';
import { resendVerification, verifyEmail } from './operations/verify-email.ts';
import type { AuthTables } from './store/tables.ts';

const COOKIE = 'lyceum_refresh';
const route = routeFor<AuthTables>();

export const authRoutes = (tools: AuthTools): Route<AuthTables>[] => [
  ...accountRoutes(tools),
  ...sessionRoutes(tools),
  ...passwordRoutes(tools),
  ...administratorRoutes(tools),
];

const accountRoutes = (tools: AuthTools): Route<AuthTables>[] => [
  route(
    {
      method: 'post',
      path: '/register',
      summary: 'Make an account',
      description: 'Sends a mail with a link and a token to prove the address.',
      access: anyone(),
      body: Registration,
      idempotent: true,
      replies: { 201: { description: 'The new account, not verified yet', schema: UserReply } },
    },
    async (context, { body }) => reply(201, { user: await register(context, tools, body) }),
  ),
  route(
    {
      method: 'post',
      path: '/email/verify',
      summary: 'Prove an e-mail address with the token of the mail',
      access: anyone(),
      body: VerifyEmail,
      replies: { 200: { description: 'The verified account', schema: UserReply } },
    },
    async (context, { body }) => reply(200, { user: await verifyEmail(context, body.token) }),
  ),
  route(
    {
      method: 'post',
      path: '/email/resend',
      summary: 'Send the verification mail again',
      access: anyone(),
      body: EmailOnly,
      replies: { 202: { description: 'Sent, if there is such an account and it is not verified' } },
    },
    async (context, { body }) => {
      await resendVerification(context, tools, body.email);
      return reply(202);
    },
  ),
  route(
    {
      method: 'get',
      path: '/me',
      summary: 'Who am I',
      access: signedIn(),
      etag: true,
      replies: { 200: { description: 'The account of the caller', schema: UserReply } },
    },
    async (context) => reply(200, { user: await getMe(context) }),
  ),
];

const sessionRoutes = (tools: AuthTools): Route<AuthTables>[] => [
  route(
    {
      method: 'post',
      path: '/login',
      summary: 'Start a session',
      description: `With session "cookie" the refresh token is only in the cookie ${COOKIE}.`,
      access: anyone(),
      body: Login,
      replies: { 200: { description: 'Tokens', schema: TokensSchema } },
    },
    async (context, { body }) => {
      const tokens = await login(context, tools, body);
      return tokensReply(tools, tokens, body.session === 'cookie');
    },
  ),
  route(
    {
      method: 'post',
      path: '/refresh',
      summary: 'Trade a refresh token for a new pair',
      description: 'Each refresh token works once; one used again ends the session.',
      access: anyone(),
      body: Refresh,
      replies: { 200: { description: 'Tokens', schema: TokensSchema } },
    },
    async (context, { body, request }) => {
      const fromCookie = body?.refreshToken === undefined;
      const token = body?.refreshToken ?? readCookie(request);
      if (!token) throw new Problem('unauthenticated', 'No refresh token was sent.');
      return tokensReply(tools, await refreshSession(context, tools, token), fromCookie);
    },
  ),
  route(
    {
      method: 'post',
      path: '/logout',
      summary: 'End this session; its access tokens stop working at once',
      access: signedIn(),
      replies: { 204: { description: 'The session is over' } },
    },
    async (context) => {
      await logout(context, tools);
      return reply(204, undefined, { 'set-cookie': cookie(tools, '', 0) });
    },
  ),
  route(
    {
      method: 'get',
      path: '/sessions',
      summary: 'My sessions',
      access: signedIn(),
      query: PageQuery,
      replies: { 200: { description: 'Newest first', schema: page(Session) } },
    },
    async (context, { query }) => reply(200, await listSessions(context, query)),
  ),
  route(
    {
      method: 'delete',
      path: '/sessions/{sessionId}',
      summary: 'End one of my sessions',
      access: signedIn({
        learnerNotEnrolled: 'not-found',
        otherTeacher: 'not-found',
        courseTeacher: 'not-found',
        administrator: 'not-found',
      }),
      params: z.strictObject({ sessionId: Id }),
      replies: { 204: { description: 'The session is over' } },
    },
    async (context, { params }) => {
      await endOwnSession(context, tools, params.sessionId);
      return reply(204);
    },
  ),
];

const passwordRoutes = (tools: AuthTools): Route<AuthTables>[] => [
  route(
    {
      method: 'post',
      path: '/password/forgot',
      summary: 'Send a mail to choose a new password',
      access: anyone(),
      body: EmailOnly,
      replies: { 202: { description: 'Sent, if there is such an account' } },
    },
    async (context, { body }) => {
      await forgotPassword(context, tools, body.email);
      return reply(202);
    },
  ),
  route(
    {
      method: 'post',
      path: '/password/reset',
      summary: 'Set a new password with the token of the mail; all sessions end',
      access: anyone(),
      body: ResetPassword,
      replies: { 204: { description: 'Changed' } },
    },
    async (context, { body }) => {
      await resetPassword(context, tools, body);
      return reply(204);
    },
  ),
  route(
    {
      method: 'post',
      path: '/password/change',
      summary: 'Change my password; my other sessions end',
      access: signedIn(),
      body: ChangePassword,
      replies: { 204: { description: 'Changed' } },
    },
    async (context, { body }) => {
      await changePassword(context, tools, body);
      return reply(204);
    },
  ),
];

const administratorRoutes = (tools: AuthTools): Route<AuthTables>[] => [
  route(
    {
      method: 'get',
      path: '/users',
      summary: 'All accounts',
      access: onlyRoles(['admin']),
      query: PageQuery.extend({ q: z.string().max(200).optional(), role: Role.optional() }),
      replies: { 200: { description: 'Newest first', schema: page(ManagedUser) } },
    },
    async (context, { query }) => reply(200, await listUsers(context, query)),
  ),
  route(
    {
      method: 'patch',
      path: '/users/{userId}',
      summary: 'Change a role, disable or enable an account',
      access: onlyRoles(['admin']),
      params: z.strictObject({ userId: Id }),
      body: ChangeUser,
      replies: { 200: { description: 'The account', schema: z.object({ user: ManagedUser }) } },
    },
    async (context, { params, body }) =>
      reply(200, { user: await changeUser(context, tools, params.userId, body) }),
  ),
  route(
    {
      method: 'post',
      path: '/keys/rotate',
      summary: 'Add a new signing key; it signs from half a minute on',
      access: onlyRoles(['admin']),
      replies: { 201: { description: 'The id of the new key', schema: z.object({ kid: z.string() }) } },
    },
    async () => reply(201, { kid: await rotateKeys(tools) }),
  ),
];

/** With the cookie, the refresh token is out of reach of scripts, so it must not be in the body as well. */
function tokensReply(
  tools: AuthTools,
  tokens: Tokens & { refreshToken: string },
  asCookie: boolean,
): JsonReply {
  if (!asCookie) return reply(200, tokens);
  const { refreshToken, ...rest } = tokens;
  return reply(200, rest, { 'set-cookie': cookie(tools, refreshToken, 30 * 86_400) });
}

function cookie(tools: AuthTools, value: string, maxAge: number): string {
  const secure = tools.settings.publicUrl.startsWith('https:') ? '; Secure' : '';
  return `${COOKIE}=${value}; Path=/api/auth; Max-Age=${maxAge}; HttpOnly; SameSite=Strict${secure}`;
}

function readCookie(request: Request): string | undefined {
  for (const pair of (request.headers.get('cookie') ?? '').split(';')) {
    const [name, value] = pair.trim().split('=');
    if (name === COOKIE && value && value.length <= 200) return value;
  }
  return undefined;
}
