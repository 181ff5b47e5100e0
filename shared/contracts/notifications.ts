import { z } from 'zod';
import { Id, PageQuery, page, Time } from './common.ts';

/** Requests and replies of `/api/notifications`. */

export const NOTIFICATION_KINDS = [
  /** Somebody wrote `<@you>` in a room. */
  'mention',
  /** The learner has completed every lesson of a course. */
  'course-completed',
  /** Somebody enrolled in the teacher's course. */
  'enrolment',
  /** A file of the owner's is ready. */
  'file-processed',
  /** A file of the owner's could not be taken. */
  'file-rejected',
  /** Somebody asks you into a group. */
  'invitation',
] as const;
export const NotificationKind = z.enum(NOTIFICATION_KINDS);
export type NotificationKind = z.infer<typeof NotificationKind>;

export const Channels = z
  .strictObject({
    inApp: z.boolean().meta({ description: 'In the list and live' }),
    email: z.boolean().meta({ description: 'By mail, to a verified address only' }),
    push: z.boolean().meta({ description: 'Kept for the mobile apps; nothing sends push messages yet' }),
  })
  .meta({ id: 'NotificationChannels' });
export type Channels = z.infer<typeof Channels>;

const channels = (inApp: boolean, email: boolean): Channels => ({ inApp, email, push: false });

/** What somebody gets who never chose. */
export const DEFAULT_CHANNELS: Record<NotificationKind, Channels> = {
  mention: channels(true, true),
  'course-completed': channels(true, true),
  enrolment: channels(true, false),
  'file-processed': channels(true, false),
  'file-rejected': channels(true, true),
  // Everybody may open a group and ask others in: mail only for those who want it.
  invitation: channels(true, false),
};

const byKind = <T extends z.ZodType>(schema: T) =>
  z.object(
    Object.fromEntries(NOTIFICATION_KINDS.map((kind) => [kind, schema])) as Record<NotificationKind, T>,
  );

/** Every kind with its channels. */
export const NotificationPreferences = byKind(Channels).meta({ id: 'NotificationPreferences' });
export type NotificationPreferences = z.infer<typeof NotificationPreferences>;

/** Kinds that are left out keep their channels. */
export const NotificationPreferencesChange = byKind(Channels)
  .partial()
  .strict()
  .meta({ examples: [{ mention: { inApp: true, email: false, push: false } }] });
export type NotificationPreferencesChange = z.infer<typeof NotificationPreferencesChange>;

export const Notification = z
  .object({
    id: Id,
    kind: NotificationKind,
    title: z.string(),
    body: z.string(),
    link: z
      .string()
      .nullable()
      .meta({ description: 'Where it leads, on the web app: a path with a fragment' }),
    createdAt: Time,
    readAt: Time.nullable(),
  })
  .meta({ id: 'Notification' });
export type Notification = z.infer<typeof Notification>;

export const NotificationQuery = PageQuery.extend({
  unread: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .optional()
    .meta({ description: '`true` leaves out what has been read' }),
});

/** Newest first. `unreadCount` counts all that are unread, not only those on the page. */
export const NotificationPage = page(Notification).extend({ unreadCount: z.number().int() });
export type NotificationPage = z.infer<typeof NotificationPage>;
