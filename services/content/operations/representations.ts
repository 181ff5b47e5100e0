import type { Course, Enrolment, File, Lesson } from '../../../shared/contracts/content.ts';
import type { EventData } from '../../../shared/contracts/events.ts';
import type { CourseRow } from '../store/courses.ts';
import type { EnrolmentRow } from '../store/enrolments.ts';
import type { FileRow } from '../store/files.ts';
import type { LessonRow } from '../store/lessons.ts';

/** Rows as the contract shows them, in replies and in events. */

export const toCourse = (row: CourseRow): Course => ({
  id: row.id,
  slug: row.slug,
  title: row.title,
  summary: row.summary,
  language: row.language,
  status: row.status,
  teacher: { id: row.teacher_id, displayName: row.teacher_name },
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
});

export const courseFacts = (row: CourseRow): EventData<'course.created'> => ({
  courseId: row.id,
  title: row.title,
  slug: row.slug,
  status: row.status,
  teacherId: row.teacher_id,
  teacherName: row.teacher_name,
});

export const filePath = (fileId: string): string => `/api/content/files/${fileId}`;

export const toFile = (row: FileRow): File => ({
  id: row.id,
  name: row.name,
  size: row.size,
  type: row.type,
  sha256: row.sha256,
  status: row.status,
  rejectedReason: row.rejected_reason,
  visibility: row.visibility,
  courseId: row.course_id,
  ownerId: row.owner_id,
  thumbnails: row.has_thumbnails
    ? {
        small: `${filePath(row.id)}/thumbnails/small`,
        medium: `${filePath(row.id)}/thumbnails/medium`,
        large: `${filePath(row.id)}/thumbnails/large`,
      }
    : null,
  createdAt: row.created_at.toISOString(),
});

export const fileFacts = (row: FileRow): EventData<'file.uploaded'> => ({
  fileId: row.id,
  name: row.name,
  size: row.size,
  type: row.type,
  sha256: row.sha256,
  visibility: row.visibility,
  courseId: row.course_id,
  ownerId: row.owner_id,
});

export const toLesson = (row: LessonRow, files: FileRow[], completed: boolean | undefined): Lesson => ({
  id: row.id,
  courseId: row.course_id,
  title: row.title,
  kind: row.kind,
  body: row.body,
  files: files.map(toFile),
  module: row.module,
  position: row.position,
  ...(completed === undefined ? {} : { completed }),
});

export const toEnrolment = (row: EnrolmentRow): Enrolment => ({
  courseId: row.course_id,
  userId: row.user_id,
  enrolledAt: row.enrolled_at.toISOString(),
});
