import { z } from 'zod';
import { Id, Time } from './common.ts';

/** Requests and replies of /api/analytics. */

export const MAX_BATCH = 500;
/** Bytes of an event's `data` as JSON. */
export const MAX_DATA_BYTES = 4_096;
/** Levels of objects and arrays in `data`, itself included. */
export const MAX_DATA_DEPTH = 8;
/** Past this a body is no event of anybody's, and the batch is refused whole. */
const MAX_BODY_DEPTH = 64;

/** True if objects and arrays are nested in each other more than `levels` deep. */
function deeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  return Object.values(value).some((inner) => deeperThan(inner, levels - 1));
}

/** PostgreSQL's jsonb holds neither NUL nor half a surrogate pair, in keys or in values. */
function storable(value: unknown): boolean {
  if (typeof value === 'string') return !value.includes('\u0000') && value.isWellFormed();
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, inner]) => storable(key) && storable(inner));
}

const bytesOf = (value: unknown): number => new TextEncoder().encode(JSON.stringify(value)).byteLength;

const EventDetails = z
  .record(z.string(), z.unknown())
  .refine((data) => !deeperThan(data, MAX_DATA_DEPTH), {
    error: `must not be nested deeper than ${MAX_DATA_DEPTH} levels`,
    abort: true,
  })
  .refine(storable, 'must be well-formed Unicode without NUL')
  .refine((data) => bytesOf(data) <= MAX_DATA_BYTES, `must be at most ${MAX_DATA_BYTES} bytes of JSON`);

/** One thing that happened in a client. */
export const ClientEvent = z.strictObject({
  id: z
    .uuid()
    .toLowerCase()
    .meta({ description: 'Made by the client; the same id of the same user counts once.' }),
  name: z
    .string()
    .max(100)
    .regex(
      /^[a-z][a-z0-9]*([.-][a-z0-9]+)*$/,
      'must be words in small letters, with dots or hyphens between them',
    )
    .meta({ description: 'What happened: `lesson.opened`, `video.play-started`.' }),
  at: z.iso.datetime({ offset: true }).meta({
    description: 'When it happened, RFC 3339: at most 30 days ago and at most 5 minutes ahead of our clock.',
  }),
  courseId: Id.optional(),
  lessonId: Id.optional(),
  data: EventDetails.optional().meta({
    description: `More about it: a JSON object of at most ${MAX_DATA_BYTES} bytes and ${MAX_DATA_DEPTH} levels.`,
  }),
});
export type ClientEvent = z.output<typeof ClientEvent>;

const { $schema: _, ...clientEventSchema } = z.toJSONSchema(ClientEvent, { io: 'input' });

/** Each event is looked at on its own, so that a bad one doesn't hold up the others; see `rejected` in the reply. */
export const EventBatch = z
  .strictObject({
    events: z
      .array(
        z
          .record(z.string(), z.unknown())
          .refine((event) => !deeperThan(event, MAX_BODY_DEPTH), 'is nested too deeply')
          .meta({ ...clientEventSchema }),
      )
      .max(MAX_BATCH),
  })
  .meta({
    examples: [
      {
        events: [
          {
            id: '01900000-0000-7000-8000-000000000001',
            name: 'course.opened',
            at: '2026-01-01T08:00:00.000Z',
            courseId: '{courseId}',
          },
        ],
      },
    ],
  });
export type EventBatch = z.output<typeof EventBatch>;

const Count = z.number().int();
const Percent = z.number().meta({ description: '0 to 100' });

export const BatchReceipt = z
  .object({
    accepted: Count,
    duplicates: Count.meta({
      description: 'Events whose id this user has sent before, or twice in this batch',
    }),
    rejected: z.array(
      z.object({
        index: Count.meta({ description: 'Place in the batch, from 0' }),
        code: z.string(),
        detail: z.string(),
      }),
    ),
  })
  .meta({ id: 'BatchReceipt' });
export type BatchReceipt = z.infer<typeof BatchReceipt>;

export const CourseOverview = z
  .object({
    enrolled: Count.meta({ description: 'Learners enrolled now' }),
    active7d: Count.meta({ description: 'Those of them who did something in the course in the last 7 days' }),
    completions: Count.meta({ description: 'Those of them who have completed the course' }),
    averagePercent: Percent.meta({ description: 'Their mean progress, one decimal' }),
    messages: Count.meta({ description: "Messages in the course's room, without deleted ones" }),
    files: Count.meta({ description: 'Files of the course, without deleted and rejected ones' }),
  })
  .meta({ id: 'CourseOverview' });
export type CourseOverview = z.infer<typeof CourseOverview>;

export const BUCKETS = ['hour', 'day', 'week'] as const;
export type Bucket = (typeof BUCKETS)[number];
/** The longest span of an activity report, in days. */
export const MAX_SPAN_DAYS: Record<Bucket, number> = { hour: 31, day: 366, week: 1_830 };

const Moment = z.iso.datetime({ offset: true });

export const ActivityQuery = z.strictObject({
  from: Moment.optional().meta({ description: 'RFC 3339; 30 days before `to` if absent' }),
  to: Moment.optional().meta({ description: 'RFC 3339, not included; now if absent' }),
  bucket: z.enum(BUCKETS).default('day').meta({
    description: 'In UTC; weeks begin on Monday. At most 31 days by hour, 366 by day, 1830 by week.',
  }),
});
export type ActivityQuery = z.output<typeof ActivityQuery>;

export const ActivityBucket = z.object({
  at: Time.meta({ description: 'Where the bucket begins' }),
  events: Count,
  users: Count.meta({ description: 'Different people who did something in it' }),
});
export type ActivityBucket = z.infer<typeof ActivityBucket>;

export const CourseActivity = z
  .object({
    items: z.array(ActivityBucket).meta({ description: 'Every bucket of the span, empty ones too' }),
  })
  .meta({ id: 'CourseActivity' });

const Progress = {
  completed: Count.meta({ description: 'Lessons completed' }),
  total: Count.nullable().meta({ description: 'Lessons there were at the last completion in the course' }),
  percent: Percent,
  completedAt: Time.nullable().meta({ description: 'When the whole course was completed' }),
};

export const LearnerRow = z
  .object({
    userId: Id,
    displayName: z.string(),
    enrolledAt: Time,
    ...Progress,
    lastActiveAt: Time.nullable(),
    messages: Count,
    events: Count,
  })
  .meta({ id: 'LearnerRow' });
export type LearnerRow = z.infer<typeof LearnerRow>;

export const MyReport = z
  .object({
    userId: Id,
    events: Count,
    messages: Count,
    lessonsCompleted: Count,
    coursesCompleted: Count,
    lastActiveAt: Time.nullable(),
    courses: z
      .array(
        z.object({
          courseId: Id,
          title: z.string(),
          enrolledAt: Time,
          ...Progress,
          lastActiveAt: Time.nullable(),
          messages: Count,
          events: Count,
        }),
      )
      .meta({ description: 'Courses the caller is enrolled in now, newest first, at most 100' }),
    activity: z
      .array(z.object({ at: Time, events: Count }))
      .meta({ description: 'The last 30 days, day by day in UTC' }),
  })
  .meta({ id: 'MyReport' });
export type MyReport = z.infer<typeof MyReport>;

export const PlatformReport = z
  .object({
    users: Count,
    learners: Count,
    teachers: Count,
    administrators: Count,
    courses: Count,
    coursesPublished: Count,
    enrolments: Count.meta({ description: 'Enrolments that hold now' }),
    active7d: Count.meta({ description: 'Different people who did something in the last 7 days' }),
    lessonsCompleted: Count,
    completions: Count.meta({ description: 'Courses completed by those who are enrolled' }),
    messages: Count,
    files: Count,
    bytes: Count.meta({ description: 'Size of these files together' }),
    events: Count,
    clientEvents: Count.meta({ description: 'Those of the events that clients sent' }),
  })
  .meta({ id: 'PlatformReport' });
export type PlatformReport = z.infer<typeof PlatformReport>;
