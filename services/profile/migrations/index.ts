import type { Migration } from '../../../shared/db/kernel.ts';

export const migrations: Migration[] = [
  {
    name: '001-profiles',
    statements: [
      `create table profiles (
        user_id uuid primary key,
        display_name text not null,
        search_name text collate "C" not null,
        bio text not null default '',
        locale text not null default 'en',
        time_zone text not null default 'UTC',
        links jsonb not null default '[]',
        privacy jsonb not null default '{}',
        preferences jsonb not null default '{}',
        avatar_id uuid,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
      )`,
      'create index profiles_search on profiles (search_name, user_id)',
      `create table accounts (
        user_id uuid primary key,
        role text not null default 'learner',
        role_at timestamptz not null default 'epoch',
        disabled boolean not null default false,
        disabled_at timestamptz not null default 'epoch',
        deleted boolean not null default false
      )`,
      `create table avatars (
        id uuid primary key,
        user_id uuid not null,
        state text not null,
        changed_at timestamptz not null default now()
      )`,
      `create index avatars_unfinished on avatars (changed_at) where state <> 'current'`,
      'create index avatars_user on avatars (user_id)',
    ],
  },
];
