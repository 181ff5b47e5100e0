import type { Migration } from '../../../shared/db/kernel.ts';

export const migrations: Migration[] = [
  {
    name: '010-analytics',
    statements: [
      `create table events (
        source text not null check (source in ('client', 'domain')),
        id uuid not null,
        user_id uuid,
        name text not null,
        at timestamptz not null,
        course_id uuid,
        lesson_id uuid,
        data jsonb,
        received_at timestamptz not null default now()
      )`,
      `create unique index events_of_clients on events (user_id, id) where source = 'client'`,
      `create unique index events_of_services on events (id) where source = 'domain'`,
      'create index events_of_course on events (course_id, at) where course_id is not null',
      `create table user_activity (
        user_id uuid not null,
        hour timestamptz not null,
        events int not null,
        messages int not null,
        last_at timestamptz not null,
        primary key (user_id, hour)
      )`,
      'create index user_activity_hour on user_activity (hour)',
      `create table course_activity (
        course_id uuid not null,
        user_id uuid not null,
        hour timestamptz not null,
        events int not null,
        messages int not null,
        last_at timestamptz not null,
        primary key (course_id, user_id, hour)
      )`,
      'create index course_activity_hour on course_activity (course_id, hour)',
      `create table event_totals (
        hour timestamptz not null,
        source text not null,
        shard smallint not null,
        events bigint not null,
        primary key (hour, source, shard)
      )`,
      `create table people (
        user_id uuid primary key,
        display_name text not null,
        named_at timestamptz not null,
        role text,
        role_at timestamptz not null,
        registered_at timestamptz,
        deleted_at timestamptz
      )`,
      `create table courses (
        course_id uuid primary key,
        title text not null,
        status text not null,
        teacher_id uuid not null,
        changed_at timestamptz not null,
        lessons int,
        lessons_at timestamptz not null
      )`,
      `create table enrolments (
        course_id uuid not null,
        user_id uuid not null,
        enrolled_at timestamptz,
        ended_at timestamptz,
        changed_at timestamptz not null,
        completed int not null default 0,
        total int,
        percent double precision not null default 0,
        progress_at timestamptz not null,
        completed_at timestamptz,
        primary key (course_id, user_id)
      )`,
      'create index enrolments_of_course on enrolments (course_id, enrolled_at, user_id) where ended_at is null',
      'create index enrolments_of_user on enrolments (user_id)',
      `create table files (
        file_id uuid primary key,
        course_id uuid,
        size bigint not null,
        rejected boolean not null default false,
        deleted boolean not null default false
      )`,
      'create index files_of_course on files (course_id) where not rejected and not deleted',
    ],
  },
];
