import { z } from 'zod';
import { signedIn } from '../../shared/auth/access.ts';
import { Id } from '../../shared/contracts/common.ts';
import {
  NotificationPage,
  NotificationPreferences,
  NotificationPreferencesChange,
  NotificationQuery,
} from '../../shared/contracts/notifications.ts';
import { etagOf, requireMatch } from '../../shared/http/etag.ts';
import { type Route, reply, routeFor } from '../../shared/http/route.ts';
import { listNotifications } from './operations/list-notifications.ts';
import { markAllRead, markRead } from './operations/mark-read.ts';
import { getPreferences, setPreferences } from './operations/preferences.ts';
import type { NotificationsTables } from './store/tables.ts';

const route = routeFor<NotificationsTables>();

/** Routes of `/api/notifications`: everybody sees and changes their own only. */
export const notificationRoutes = (): Route<NotificationsTables>[] => [
  route(
    {
      method: 'get',
      path: '/',
      summary: 'My notifications',
      access: signedIn(),
      query: NotificationQuery,
      replies: { 200: { description: 'Newest first', schema: NotificationPage } },
    },
    async (context, { query }) => reply(200, await listNotifications(context, query)),
  ),
  route(
    {
      method: 'post',
      path: '/read-all',
      summary: 'Mark all my notifications as read',
      access: signedIn(),
      replies: { 204: { description: 'All are read' } },
    },
    async (context) => {
      await markAllRead(context);
      return reply(204);
    },
  ),
  route(
    {
      method: 'get',
      path: '/preferences',
      summary: 'Which channels I want for each kind',
      access: signedIn(),
      replies: { 200: { description: 'Every kind', schema: NotificationPreferences } },
      etag: true,
    },
    async (context) => reply(200, await getPreferences(context)),
  ),
  route(
    {
      method: 'put',
      path: '/preferences',
      summary: 'Choose channels',
      description: 'Kinds that are left out keep their channels. Honours If-Match.',
      access: signedIn(),
      body: NotificationPreferencesChange,
      replies: { 200: { description: 'Every kind', schema: NotificationPreferences } },
    },
    async (context, { body, request }) => {
      const preferences = await setPreferences(context, body, (current) => requireMatch(request, current));
      return reply(200, preferences, { etag: etagOf(preferences) });
    },
  ),
  route(
    {
      method: 'put',
      path: '/{notificationId}/read',
      summary: 'Mark one of my notifications as read',
      // The id in the access matrix is of a notification of the course's teacher (somebody enrolled).
      access: signedIn({
        learnerNotEnrolled: 'not-found',
        learnerEnrolled: 'not-found',
        otherTeacher: 'not-found',
        administrator: 'not-found',
      }),
      params: z.strictObject({ notificationId: Id }),
      replies: { 204: { description: 'It is read' } },
    },
    async (context, { params }) => {
      await markRead(context, params.notificationId);
      return reply(204);
    },
  ),
];
