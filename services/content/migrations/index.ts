import type { Migration } from '../../../shared/db/kernel.ts';

export const migrations: Migration[] = [
  {
    name: '001-courses',
    statements: [
      // What this service knows about people, from their events. Each fact has the time of the event that told it.
      `create table people (
        user_id uuid primary key,
        display_name text,
        name_at timestamptz,
        role text,
        role_at timestamptz
      )`,
      `create table courses (
        id uuid primary key,
        slug text not null unique,
        title text not null,
        summary text not null,
        language text not null,
        status text not null check (status in ('draft', 'published', 'archived')),
        teacher_id uuid not null,
        teacher_name text not null,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
      )`,
      'create index courses_teacher on courses (teacher_id, id)',
      `create table lessons (
        id uuid primary key,
        course_id uuid not null references courses (id) on delete cascade,
        title text not null,
        kind text not null check (kind in ('text', 'file', 'video')),
        body text not null,
        module text,
        position int not null,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
      )`,
      'create index lessons_course on lessons (course_id, position)',
      `create table enrolments (
        course_id uuid not null references courses (id) on delete cascade,
        user_id uuid not null,
        display_name text not null,
        enrolled_at timestamptz not null default now(),
        primary key (course_id, user_id)
      )`,
      'create index enrolments_user on enrolments (user_id)',
      'create index enrolments_list on enrolments (course_id, enrolled_at, user_id)',
      // A completion taken back keeps its row, so that the event is published for the first time only.
      `create table lesson_completions (
        lesson_id uuid not null references lessons (id) on delete cascade,
        user_id uuid not null,
        course_id uuid not null,
        completed_at timestamptz,
        primary key (lesson_id, user_id)
      )`,
      'create index lesson_completions_learner on lesson_completions (course_id, user_id)',
      `create table course_completions (
        course_id uuid not null references courses (id) on delete cascade,
        user_id uuid not null,
        completed_at timestamptz not null default now(),
        primary key (course_id, user_id)
      )`,
    ],
  },
  {
    name: '002-files',
    statements: [
      `create table files (
        id uuid primary key,
        name text not null,
        size bigint not null,
        type text not null,
        sha256 text not null,
        status text not null check (status in ('processing', 'ready', 'rejected')),
        rejected_reason text,
        visibility text not null check (visibility in ('private', 'course', 'public')),
        course_id uuid references courses (id) on delete cascade,
        owner_id uuid not null,
        object_key text not null unique,
        created_at timestamptz not null default now(),
        processed_at timestamptz
      )`,
      'create index files_owner on files (owner_id, id)',
      'create index files_course on files (course_id, id) where course_id is not null',
      `create table lesson_files (
        lesson_id uuid not null references lessons (id) on delete cascade,
        file_id uuid not null references files (id) on delete cascade,
        position int not null,
        primary key (lesson_id, file_id)
      )`,
      'create index lesson_files_file on lesson_files (file_id)',
      `create table thumbnails (
        file_id uuid not null references files (id) on delete cascade,
        size text not null check (size in ('small', 'medium', 'large')),
        object_key text not null,
        type text not null,
        bytes int not null,
        width int not null,
        height int not null,
        sha256 text not null,
        primary key (file_id, size)
      )`,
      // A tsvector holds less than 1 MiB; the first 150,000 characters fit in any script.
      `create table file_texts (
        file_id uuid primary key references files (id) on delete cascade,
        body text not null,
        words tsvector not null generated always as (to_tsvector('simple'::regconfig, left(body, 150000))) stored
      )`,
      'create index file_texts_words on file_texts using gin (words)',
      // An upload under way: written before the first byte, gone with the transaction that makes the file.
      `create table uploads (
        id uuid primary key,
        object_key text not null,
        owner_id uuid not null,
        heartbeat_at timestamptz not null default now()
      )`,
      'create index uploads_heartbeat on uploads (heartbeat_at)',
      // Objects to be removed from due_at on, unless a transaction takes the row away before it is claimed.
      `create table doomed_objects (
        object_key text primary key,
        due_at timestamptz not null,
        claimed boolean not null default false
      )`,
      'create index doomed_objects_due on doomed_objects (due_at)',
      'create table secrets (name text primary key, value text not null)',
    ],
  },
];
