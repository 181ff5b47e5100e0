import { z } from 'zod';
import { Id, line, PageQuery, prose, Time } from './common.ts';

/** Requests and replies of `/api/content`. */

export const COURSE_STATUSES = ['draft', 'published', 'archived'] as const;
export const CourseStatus = z.enum(COURSE_STATUSES);
export const LESSON_KINDS = ['text', 'file', 'video'] as const;
export const LessonKind = z.enum(LESSON_KINDS);
export const FILE_STATUSES = ['processing', 'ready', 'rejected'] as const;
export const FileStatus = z.enum(FILE_STATUSES);
export const VISIBILITIES = ['private', 'course', 'public'] as const;
export const Visibility = z.enum(VISIBILITIES);
export const THUMBNAIL_SIZES = ['small', 'medium', 'large'] as const;
export const ThumbnailSize = z.enum(THUMBNAIL_SIZES);

export type CourseStatus = z.infer<typeof CourseStatus>;
export type LessonKind = z.infer<typeof LessonKind>;
export type FileStatus = z.infer<typeof FileStatus>;
export type Visibility = z.infer<typeof Visibility>;
export type ThumbnailSize = z.infer<typeof ThumbnailSize>;

/** Longest life of a link to a file, in seconds: a week. */
export const LINK_MAX_SECONDS = 604_800;
/** The largest file, in bytes: 10 GiB. */
export const FILE_MAX_BYTES = 10 * 1024 ** 3;

// ---- paths and queries

export const CourseParams = z.strictObject({ courseId: Id });
export const LessonParams = z.strictObject({ lessonId: Id });
export const FileParams = z.strictObject({ fileId: Id });
export const ThumbnailParams = z.strictObject({ fileId: Id, size: ThumbnailSize });

const search = line(200).meta({ description: 'Words to look for' });

export const CourseListQuery = PageQuery.extend({
  q: search.optional(),
  mine: z
    .enum(['true', 'false'])
    .optional()
    .meta({ description: 'Only courses the caller teaches or is enrolled in' }),
});

export const FileListQuery = PageQuery.extend({ courseId: Id.optional(), q: search.optional() });

/** One path component: slashes, backslashes and the two dot names would be something else. */
export const FileName = line(255)
  .refine((name) => !/[/\\]/.test(name), 'must not contain slashes')
  .refine((name) => name !== '.' && name !== '..', 'must be a name');

export const UploadQuery = z.strictObject({
  name: FileName.optional(),
  courseId: Id.optional(),
  visibility: Visibility.default('private'),
});

export const ContentQuery = z.strictObject({
  download: z.enum(['0', '1', 'true', 'false']).optional(),
  expires: z.string().max(20).optional().meta({ description: 'Of a link: seconds since the epoch' }),
  signature: z.string().max(100).optional().meta({ description: 'Of a link' }),
});

// ---- bodies

const language = z
  .string()
  .max(35)
  .regex(/^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$/, 'must be a language tag (BCP 47)');

export const CreateCourse = z
  .strictObject({ title: line(200), summary: prose(5_000).optional(), language: language.optional() })
  .meta({
    examples: [
      { title: 'Knots and splices', summary: 'From the bowline to the eye splice.', language: 'en' },
    ],
  });

export const UpdateCourse = z
  .strictObject({
    title: line(200).optional(),
    summary: prose(5_000).optional(),
    language: language.optional(),
  })
  .meta({ examples: [{ summary: 'Now with a lesson on whipping.' }] });

const lessonFields = {
  kind: LessonKind,
  /** Markdown. */
  body: prose(500_000),
  fileIds: z
    .array(Id)
    .max(50)
    .refine((ids) => new Set(ids).size === ids.length, 'must not name a file twice'),
  module: line(200).nullable(),
  position: z.number().int().min(0).max(1_000_000).meta({ description: 'From 1; past the end means last' }),
};

export const CreateLesson = z
  .strictObject({
    title: line(200),
    kind: lessonFields.kind,
    body: lessonFields.body.optional(),
    fileIds: lessonFields.fileIds.optional(),
    module: lessonFields.module.optional(),
    position: lessonFields.position.optional(),
  })
  .meta({
    examples: [
      { title: 'The bowline', kind: 'text', body: '# The bowline\n\nThe rabbit comes out of the hole…' },
    ],
  });

export const UpdateLesson = z
  .strictObject({
    title: line(200).optional(),
    kind: lessonFields.kind.optional(),
    body: lessonFields.body.optional(),
    fileIds: lessonFields.fileIds.optional(),
    module: lessonFields.module.optional(),
    position: lessonFields.position.optional(),
  })
  .meta({ examples: [{ title: 'The bowline, again' }] });

export const CreateLink = z
  .strictObject({
    expiresIn: z.number().int().min(1).max(LINK_MAX_SECONDS).meta({ description: 'Seconds' }),
  })
  .meta({ examples: [{ expiresIn: 60 }] });

// ---- replies

export const Course = z
  .object({
    id: Id,
    slug: z.string(),
    title: z.string(),
    summary: z.string(),
    language: z.string(),
    status: CourseStatus,
    teacher: z.object({ id: Id, displayName: z.string() }),
    createdAt: Time,
    updatedAt: Time,
  })
  .meta({ id: 'Course' });

export const Thumbnails = z.object({ small: z.string(), medium: z.string(), large: z.string() }).meta({
  id: 'Thumbnails',
  description: 'Paths of the images, at most 160, 480 and 1200 pixels wide and high',
});

export const File = z
  .object({
    id: Id,
    name: z.string(),
    size: z.number().int(),
    type: z.string().meta({ description: 'By the bytes, not by the name' }),
    sha256: z.string().meta({ description: 'Hexadecimal' }),
    status: FileStatus,
    rejectedReason: z.string().nullable(),
    visibility: Visibility,
    courseId: Id.nullable(),
    ownerId: Id,
    thumbnails: Thumbnails.nullable(),
    createdAt: Time,
  })
  .meta({ id: 'File' });

export const Lesson = z
  .object({
    id: Id,
    courseId: Id,
    title: z.string(),
    kind: LessonKind,
    body: z.string().meta({ description: 'Markdown' }),
    files: z.array(File),
    module: z.string().nullable(),
    position: z.number().int(),
    completed: z.boolean().optional().meta({ description: 'For enrolled callers' }),
  })
  .meta({ id: 'Lesson' });

export const Enrolment = z.object({ courseId: Id, userId: Id, enrolledAt: Time }).meta({ id: 'Enrolment' });
export const EnrolmentListItem = Enrolment.extend({ displayName: z.string() }).meta({
  id: 'EnrolmentListItem',
});

const counts = { completed: z.number().int(), total: z.number().int(), percent: z.number().int() };
export const ProgressCounts = z.object(counts).meta({ id: 'ProgressCounts' });
export const Completion = z
  .object({ lessonId: Id, completedAt: Time.nullable(), progress: ProgressCounts })
  .meta({ id: 'Completion' });
export const Progress = z
  .object({ ...counts, lessons: z.array(z.object({ lessonId: Id, completedAt: Time })) })
  .meta({ id: 'Progress' });

export const FileLink = z.object({ url: z.string(), expiresAt: Time }).meta({ id: 'FileLink' });

export type Course = z.infer<typeof Course>;
export type Lesson = z.infer<typeof Lesson>;
export type File = z.infer<typeof File>;
export type Enrolment = z.infer<typeof Enrolment>;
export type EnrolmentListItem = z.infer<typeof EnrolmentListItem>;
export type ProgressCounts = z.infer<typeof ProgressCounts>;
export type Completion = z.infer<typeof Completion>;
export type Progress = z.infer<typeof Progress>;
export type FileLink = z.infer<typeof FileLink>;
