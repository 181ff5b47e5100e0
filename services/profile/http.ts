import { z } from 'zod';
import { anyone, signedIn } from '../../shared/auth/access.ts';
import { Id } from '../../shared/contracts/common.ts';
import {
  AVATAR_LIMIT,
  AVATAR_SIZES,
  AvatarReply,
  OwnProfile,
  Preferences,
  PreferencesChange,
  ProfileChange,
  ProfilePage,
  ProfileSearch,
  PublicProfile,
} from '../../shared/contracts/profile.ts';
import { readBytes } from '../../shared/http/body.ts';
import { etagOf, matchesEtag, requireMatch } from '../../shared/http/etag.ts';
import { type Route, reply, routeFor } from '../../shared/http/route.ts';
import type { ProfileTools } from './context.ts';
import { changeMyProfile } from './operations/change-my-profile.ts';
import { deleteMyAvatar } from './operations/delete-avatar.ts';
import { getMyProfile } from './operations/get-my-profile.ts';
import { getProfile } from './operations/get-profile.ts';
import { changePreferences, getPreferences } from './operations/preferences.ts';
import { searchProfiles } from './operations/search-profiles.ts';
import { openAvatar, requireAvatar } from './operations/serve-avatar.ts';
import { setMyAvatar } from './operations/set-avatar.ts';
import type { ProfileTables } from './store/tables.ts';

const route = routeFor<ProfileTables>();

/** Routes of `/api/profiles`. What has a fixed path stands before `{userId}`. */
export const profileRoutes = (tools: ProfileTools): Route<ProfileTables>[] => [
  route(
    {
      method: 'get',
      path: '/',
      summary: 'Find people by name',
      access: signedIn(),
      query: ProfileSearch,
      replies: { 200: { description: 'By name; only those who can be found', schema: ProfilePage } },
    },
    async (context, { query }) => reply(200, await searchProfiles(context, tools, query)),
  ),
  route(
    {
      method: 'get',
      path: '/me',
      summary: 'My profile',
      access: signedIn(),
      replies: { 200: { description: 'The profile', schema: OwnProfile } },
      etag: true,
    },
    async (context) => reply(200, await getMyProfile(context, tools)),
  ),
  route(
    {
      method: 'patch',
      path: '/me',
      summary: 'Change my profile',
      description: 'What is left out stays. Of `privacy`, too, only what is sent changes. Honours If-Match.',
      access: signedIn(),
      body: ProfileChange,
      replies: { 200: { description: 'The changed profile', schema: OwnProfile } },
    },
    async (context, { body, request }) => {
      const profile = await changeMyProfile(context, tools, body, (current) =>
        requireMatch(request, current),
      );
      return reply(200, profile, { etag: etagOf(profile) });
    },
  ),
  route(
    {
      method: 'put',
      path: '/me/avatar',
      summary: 'Set my avatar',
      access: signedIn(),
      rawBody: {
        description:
          'The picture itself: JPEG, PNG, WebP, GIF or AVIF by its content, at most 5 MiB and 50 megapixels. It is turned upright, cut square and loses its metadata.',
        contentTypes: ['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/avif'],
      },
      replies: { 200: { description: 'Addresses of the three sizes', schema: AvatarReply } },
    },
    async (context, { request }) => {
      const picture = await readBytes(request, AVATAR_LIMIT);
      return reply(200, { avatar: await setMyAvatar(context, tools, picture) });
    },
  ),
  route(
    {
      method: 'delete',
      path: '/me/avatar',
      summary: 'Remove my avatar',
      access: signedIn(),
      replies: { 204: { description: 'There is none now' } },
    },
    async (context) => {
      await deleteMyAvatar(context, tools);
      return reply(204);
    },
  ),
  route(
    {
      method: 'get',
      path: '/me/preferences',
      summary: 'How I want the web app to be',
      access: signedIn(),
      replies: { 200: { description: 'All preferences', schema: Preferences } },
      etag: true,
    },
    async (context) => reply(200, await getPreferences(context)),
  ),
  route(
    {
      method: 'patch',
      path: '/me/preferences',
      summary: 'Change my preferences',
      description: 'What is left out stays. Honours If-Match.',
      access: signedIn(),
      body: PreferencesChange,
      replies: { 200: { description: 'All preferences', schema: Preferences } },
    },
    async (context, { body, request }) => {
      const preferences = await changePreferences(context, body, (current) => requireMatch(request, current));
      return reply(200, preferences, { etag: etagOf(preferences) });
    },
  ),
  route(
    {
      method: 'get',
      path: '/avatars/{avatarId}/{size}',
      summary: 'The picture of an avatar',
      description: 'Needs no token: the id cannot be guessed, and pages show it in <img>. It never changes.',
      access: anyone(),
      params: z.strictObject({ avatarId: z.uuid(), size: z.enum(AVATAR_SIZES) }),
      replies: {
        200: { description: 'A square of 64, 256 or 512 pixels', content: 'image/webp' },
        304: { description: 'The one you have' },
      },
    },
    async (context, { params, request }) => {
      const headers = {
        etag: `"${params.avatarId}-${params.size}"`,
        // Browsers need not ask again; who keeps it for many forgets it in time when it was removed.
        'cache-control': 'public, max-age=31536000, s-maxage=300, immutable',
      };
      const known = request.headers.get('if-none-match');
      if (known && matchesEtag(known, headers.etag, true)) {
        await requireAvatar(context, params.avatarId);
        return new Response(null, { status: 304, headers });
      }
      const pictureHeaders = {
        ...headers,
        'content-type': 'image/webp',
        'x-content-type-options': 'nosniff',
        'content-security-policy': "default-src 'none'; sandbox",
      };
      if (request.method === 'HEAD') {
        await requireAvatar(context, params.avatarId);
        return new Response(null, { headers: pictureHeaders });
      }
      return new Response(await openAvatar(context, tools, params), { headers: pictureHeaders });
    },
  ),
  route(
    {
      method: 'get',
      path: '/{userId}',
      summary: "Somebody's profile",
      description:
        'What its owner lets the caller see: hidden fields are null, and a hidden profile is not found.',
      access: signedIn(),
      params: z.strictObject({ userId: Id }),
      replies: { 200: { description: 'The profile', schema: PublicProfile } },
      etag: true,
    },
    async (context, { params }) => reply(200, await getProfile(context, tools, params.userId)),
  ),
];
