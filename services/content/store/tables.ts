import type { Generated, Kysely } from 'kysely';
import type {
  CourseStatus,
  FileStatus,
  LessonKind,
  ThumbnailSize,
  Visibility,
} from '../../../shared/contracts/content.ts';
import type { KernelTables } from '../../../shared/db/kernel.ts';

export interface ContentTables extends KernelTables {
  people: {
    user_id: string;
    display_name: string | null;
    name_at: Date | null;
    role: string | null;
    role_at: Date | null;
  };
  courses: {
    id: string;
    slug: string;
    title: string;
    summary: string;
    language: string;
    status: CourseStatus;
    teacher_id: string;
    teacher_name: string;
    created_at: Generated<Date>;
    updated_at: Generated<Date>;
  };
  lessons: {
    id: string;
    course_id: string;
    title: string;
    kind: LessonKind;
    body: string;
    module: string | null;
    position: number;
    created_at: Generated<Date>;
    updated_at: Generated<Date>;
  };
  enrolments: { course_id: string; user_id: string; display_name: string; enrolled_at: Generated<Date> };
  lesson_completions: { lesson_id: string; user_id: string; course_id: string; completed_at: Date | null };
  course_completions: { course_id: string; user_id: string; completed_at: Generated<Date> };
  files: {
    id: string;
    name: string;
    size: number;
    type: string;
    sha256: string;
    status: FileStatus;
    rejected_reason: string | null;
    visibility: Visibility;
    course_id: string | null;
    owner_id: string;
    object_key: string;
    created_at: Generated<Date>;
    processed_at: Date | null;
  };
  lesson_files: { lesson_id: string; file_id: string; position: number };
  thumbnails: {
    file_id: string;
    size: ThumbnailSize;
    object_key: string;
    type: string;
    bytes: number;
    width: number;
    height: number;
    sha256: string;
  };
  file_texts: { file_id: string; body: string; words: Generated<string> };
  uploads: { id: string; object_key: string; owner_id: string; heartbeat_at: Generated<Date> };
  doomed_objects: { object_key: string; due_at: Date; claimed: Generated<boolean> };
  secrets: { name: string; value: string };
}

/** The database or an open transaction: the first argument of every store function. */
export type Db = Kysely<ContentTables>;
