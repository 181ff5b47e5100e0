import type { Migration } from '../../../shared/db/kernel.ts';
import { changeMigrations } from './changes.ts';
import { featureMigrations } from './features.ts';

export const migrations: Migration[] = [
  {
    name: '001-projections',
    statements: [
      `create table people (
        user_id uuid primary key,
        display_name text not null,
        named_at timestamptz not null
      )`,
      `create table courses (
        course_id uuid primary key,
        title text not null,
        teacher_id uuid not null,
        status text not null,
        published boolean not null,
        changed_at timestamptz not null
      )`,
      `create table enrolments (
        course_id uuid not null,
        user_id uuid not null,
        active boolean not null,
        changed_at timestamptz not null,
        primary key (course_id, user_id)
      )`,
      `create table files (
        file_id uuid primary key,
        name text not null,
        type text not null,
        size bigint not null,
        visibility text not null,
        course_id uuid,
        owner_id uuid not null,
        usable boolean not null,
        changed_at timestamptz not null
      )`,
    ],
  },
  {
    name: '002-rooms',
    statements: [
      `create table rooms (
        id uuid primary key,
        kind text not null check (kind in ('course', 'group', 'direct')),
        name text not null,
        course_id uuid unique,
        pair_key text unique,
        last_seq int not null default 0,
        archived boolean not null default false,
        created_at timestamptz not null,
        active_at timestamptz not null
      )`,
      `create table members (
        room_id uuid not null references rooms (id) on delete cascade,
        user_id uuid not null,
        role text not null check (role in ('owner', 'member')),
        read_seq int not null default 0,
        joined_at timestamptz not null,
        primary key (room_id, user_id)
      )`,
      'create index members_user on members (user_id)',
      'create index members_joined on members (room_id, joined_at, user_id)',
      `create table messages (
        id uuid primary key,
        room_id uuid not null references rooms (id) on delete cascade,
        seq int not null,
        client_id text not null,
        author_id uuid not null,
        body text not null,
        mentions jsonb not null,
        reply_to uuid,
        attachments jsonb not null,
        created_at timestamptz not null,
        edited_at timestamptz,
        deleted_at timestamptz,
        unique (room_id, seq),
        unique (room_id, author_id, client_id)
      )`,
      `create table reactions (
        message_id uuid not null references messages (id) on delete cascade,
        emoji text not null,
        user_id uuid not null,
        created_at timestamptz not null,
        primary key (message_id, emoji, user_id)
      )`,
    ],
  },
  ...featureMigrations,
  ...changeMigrations,
];
