import { z } from 'zod';
import { Id, Role, Time } from './common.ts';

/**
 * Every domain event: its name (the routing key on the exchange `lyceum.events`) and the schema of its `data`.
 * Readers ignore fields they do not know, so these are loose objects and fields are only ever added.
 */

const user = z.object({ userId: Id });
const course = z.object({ courseId: Id });
const courseFacts = course.extend({
  title: z.string(),
  slug: z.string(),
  status: z.enum(['draft', 'published', 'archived']),
  teacherId: Id,
  teacherName: z.string(),
});
const enrolment = course.extend({
  userId: Id,
  displayName: z.string(),
  courseTitle: z.string(),
  teacherId: Id,
});
const fileFacts = z.object({
  fileId: Id,
  name: z.string(),
  size: z.number(),
  type: z.string(),
  sha256: z.string(),
  visibility: z.enum(['private', 'course', 'public']),
  courseId: Id.nullable(),
  ownerId: Id,
});
const messageFacts = z.object({
  messageId: Id,
  roomId: Id,
  roomName: z.string(),
  courseId: Id.nullable(),
  seq: z.number().int(),
  authorId: Id,
  authorName: z.string(),
});

export const EVENTS = {
  'user.registered': user.extend({ email: z.string(), displayName: z.string(), role: Role }),
  'user.verified': user.extend({ email: z.string() }),
  'user.role-changed': user.extend({ from: Role, to: Role }),
  'user.disabled': user.extend({ disabled: z.boolean() }),
  'user.deleted': user,
  'session.revoked': user.extend({ sessionId: Id, reason: z.string() }),
  'course.created': courseFacts,
  'course.updated': courseFacts,
  'course.published': courseFacts,
  'course.archived': courseFacts,
  'enrolment.created': enrolment,
  'enrolment.cancelled': enrolment,
  'lesson.completed': course.extend({
    lessonId: Id,
    userId: Id,
    completed: z.number().int(),
    total: z.number().int(),
    percent: z.number(),
  }),
  'course.completed': course.extend({ userId: Id, courseTitle: z.string() }),
  'file.uploaded': fileFacts,
  'file.processed': fileFacts,
  'file.rejected': fileFacts.extend({ reason: z.string() }),
  'file.deleted': fileFacts,
  'message.sent': messageFacts.extend({ excerpt: z.string() }),
  'message.mentioned': messageFacts.extend({ mentioned: z.array(Id), excerpt: z.string() }),
  'message.deleted': messageFacts,
  'room.invited': user.extend({
    invitationId: Id,
    roomId: Id,
    roomName: z.string(),
    invitedBy: Id,
    invitedByName: z.string(),
  }),
  'profile.updated': user.extend({
    displayName: z.string(),
    avatar: z.string().nullable(),
    locale: z.string(),
    /** Absent from services that do not know of it yet: then what was known stays. */
    showPresence: z.boolean().optional(),
  }),
  'notification.created': user.extend({
    notificationId: Id,
    kind: z.string(),
    title: z.string(),
    body: z.string(),
    link: z.string().nullable(),
    createdAt: Time,
    /** False when the user turned the in-app channel off for this kind. */
    live: z.boolean(),
  }),
  'notification.sent': user.extend({ notificationId: Id, channel: z.enum(['email', 'push']) }),
  'notification.failed': user.extend({
    notificationId: Id,
    channel: z.enum(['email', 'push']),
    reason: z.string(),
  }),
} as const satisfies Record<string, z.ZodType>;

export type EventName = keyof typeof EVENTS;
export type EventData<N extends EventName> = z.infer<(typeof EVENTS)[N]>;
export const EVENT_NAMES = Object.keys(EVENTS) as EventName[];

/** What travels: `actor` is the user (or `system`) who caused it, `subject` the id of what it is about. */
export const EventEnvelope = z.object({
  id: Id,
  name: z.enum(EVENT_NAMES),
  version: z.number().int(),
  at: Time,
  actor: z.string(),
  subject: z.string(),
  traceparent: z.string().nullable(),
  data: z.unknown(),
});
export type EventEnvelope = z.infer<typeof EventEnvelope>;
export type DomainEvent<N extends EventName> = Omit<EventEnvelope, 'name' | 'data'> & {
  name: N;
  data: EventData<N>;
};
