import type { Migration } from '../../../shared/db/kernel.ts';
import { mailMigration } from '../../../shared/mail/mail-queue.ts';

export const migrations: Migration[] = [
  mailMigration,
  {
    name: '010-users-and-sessions',
    statements: [
      `create table users (
        id uuid primary key,
        email text not null unique,
        display_name text not null,
        display_name_at timestamptz not null default now(),
        password_hash text not null,
        role text not null check (role in ('learner', 'teacher', 'admin')),
        role_changed_at timestamptz,
        email_verified_at timestamptz,
        disabled_at timestamptz,
        created_at timestamptz not null default now()
      )`,
      'create index users_role_changed on users (role_changed_at) where role_changed_at is not null',
      `create table sessions (
        id uuid primary key,
        user_id uuid not null references users (id) on delete cascade,
        created_at timestamptz not null default now(),
        last_used_at timestamptz not null default now(),
        expires_at timestamptz not null,
        ip text not null,
        user_agent text not null,
        revoked_at timestamptz
      )`,
      'create index sessions_user on sessions (user_id) where revoked_at is null',
      'create index sessions_revoked on sessions (revoked_at) where revoked_at is not null',
      // Only digests are kept: who reads this table can not use what it says.
      `create table refresh_tokens (
        digest text primary key,
        session_id uuid not null references sessions (id) on delete cascade,
        used_at timestamptz,
        created_at timestamptz not null default now()
      )`,
      'create index refresh_tokens_session on refresh_tokens (session_id)',
      `create table one_time_tokens (
        digest text primary key,
        user_id uuid not null references users (id) on delete cascade,
        purpose text not null check (purpose in ('verify-email', 'reset-password')),
        expires_at timestamptz not null,
        used_at timestamptz
      )`,
      'create index one_time_tokens_user on one_time_tokens (user_id)',
      `create table signing_keys (
        kid text primary key,
        private_jwk jsonb not null,
        public_jwk jsonb not null,
        created_at timestamptz not null default now(),
        active_from timestamptz not null
      )`,
    ],
  },
];
