import type { Migration } from '../../../shared/db/kernel.ts';
import { mailMigration } from '../../../shared/mail/mail-queue.ts';

export const migrations: Migration[] = [
  mailMigration,
  {
    name: '002-notifications',
    statements: [
      `create table people (
        user_id uuid primary key,
        email text,
        verified boolean not null default false,
        display_name text,
        name_at timestamptz not null default 'epoch',
        locale text,
        disabled boolean not null default false,
        disabled_at timestamptz not null default 'epoch',
        deleted boolean not null default false
      )`,
      `create table notifications (
        id uuid primary key,
        user_id uuid not null,
        kind text not null,
        title text not null,
        body text not null,
        link text,
        in_app boolean not null,
        created_at timestamptz not null default now(),
        read_at timestamptz
      )`,
      'create index notifications_list on notifications (user_id, id desc) where in_app',
      'create index notifications_unread on notifications (user_id, id desc) where in_app and read_at is null',
      'create index notifications_age on notifications (created_at)',
      'create table preferences (user_id uuid primary key, choices jsonb not null)',
      `create table waiting_mails (
        notification_id uuid primary key,
        user_id uuid not null,
        mail jsonb not null,
        created_at timestamptz not null default now()
      )`,
      'create index waiting_mails_user on waiting_mails (user_id)',
    ],
  },
];
