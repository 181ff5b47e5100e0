import { EVENT_NAMES, type EventName } from '../contracts/events.ts';

/** The one place that says which queue receives which events. Every process declares all of it at start. */
export const EXCHANGE = 'lyceum.events';

export const QUEUES = {
  'auth.profiles': ['profile.updated'],
  'profile.users': ['user.registered', 'user.deleted', 'user.role-changed', 'user.disabled'],
  'content.people': ['user.registered', 'profile.updated', 'user.role-changed'],
  'content.processing': ['file.uploaded'],
  'chat.projections': [
    'user.registered',
    'profile.updated',
    'course.published',
    'course.updated',
    'course.archived',
    'enrolment.created',
    'enrolment.cancelled',
    'file.uploaded',
    'file.processed',
    'file.rejected',
    'file.deleted',
  ],
  'chat.live': ['notification.created', 'session.revoked', 'user.role-changed', 'user.disabled'],
  'notifications.people': [
    'user.registered',
    'user.verified',
    'profile.updated',
    'user.deleted',
    'user.disabled',
  ],
  'notifications.triggers': [
    'message.mentioned',
    'room.invited',
    'course.completed',
    'enrolment.created',
    'file.processed',
    'file.rejected',
  ],
  'analytics.events': EVENT_NAMES,
} as const satisfies Record<string, readonly EventName[]>;

export type QueueName = keyof typeof QUEUES;
export const QUEUE_NAMES = Object.keys(QUEUES) as QueueName[];

/** Where the broker itself puts what it gave up on (delivery limit of a quorum queue). */
export const deadLetterQueue = (queue: string): string => `${queue}.dead`;
