import type { Migration } from '../../../shared/db/kernel.ts';

/** Roles, settings, threads, pins, history, search, moderation, webhooks. All of it is added beside what old code uses. */
export const featureMigrations: Migration[] = [
  {
    name: '010-roles-and-settings',
    statements: [
      'alter table members drop constraint members_role_check',
      "alter table members add constraint members_role_check check (role in ('owner', 'moderator', 'member'))",
      'alter table members add column last_sent_at timestamptz',
      `alter table rooms
        add column locked boolean not null default false,
        add column slow_mode_seconds int not null default 0,
        add column receipts boolean not null default true,
        add column retention_days int,
        add column first_seq int not null default 1`,
      'alter table people add column bot boolean not null default false',
      'alter table people add column hides_presence boolean not null default false',
      `create table invitations (
        id uuid primary key,
        room_id uuid not null references rooms (id) on delete cascade,
        user_id uuid not null,
        invited_by uuid not null,
        created_at timestamptz not null,
        unique (room_id, user_id)
      )`,
      'create index invitations_user on invitations (user_id, id)',
      `create table departures (
        room_id uuid not null references rooms (id) on delete cascade,
        user_id uuid not null,
        reason text not null,
        at timestamptz not null default now(),
        primary key (room_id, user_id)
      )`,
      'create index departures_at on departures (at)',
    ],
  },
  {
    name: '011-threads-pins-history',
    statements: [
      `alter table messages
        add column mentions_room boolean not null default false,
        add column reply_count int not null default 0,
        add column last_reply_at timestamptz,
        add column pinned_at timestamptz,
        add column pinned_by uuid`,
      `create table message_versions (
        message_id uuid not null references messages (id) on delete cascade,
        version int not null,
        body text not null,
        written_at timestamptz not null,
        primary key (message_id, version)
      )`,
    ],
  },
  {
    name: '011a-count-replies',
    // What was answered before there was a count.
    statements: [
      `update messages p set reply_count = r.count, last_reply_at = r.last from (
        select reply_to, count(*) as count, max(created_at) as last from messages
        where reply_to is not null and deleted_at is null group by reply_to) r
        where r.reply_to = p.id and p.reply_count <> r.count`,
    ],
    indexes: [
      { name: 'messages_replies', on: 'messages (reply_to, seq) where reply_to is not null' },
      { name: 'messages_pinned', on: 'messages (room_id, pinned_at) where pinned_at is not null' },
    ],
  },
  {
    name: '012-search',
    statements: [],
    // Over an expression: a generated column would rewrite the table and travel with every history page.
    indexes: [{ name: 'messages_words', on: "messages using gin (to_tsvector('simple', body))" }],
  },
  {
    name: '013-moderation',
    statements: [
      `create table sanctions (
        room_id uuid not null references rooms (id) on delete cascade,
        user_id uuid not null,
        kind text not null check (kind in ('mute', 'ban')),
        until timestamptz,
        reason text not null,
        took_out boolean not null default false,
        created_by uuid not null,
        created_at timestamptz not null,
        primary key (room_id, user_id, kind)
      )`,
      'create index sanctions_until on sanctions (until) where until is not null',
      `create table reports (
        id uuid primary key,
        room_id uuid not null references rooms (id) on delete cascade,
        message_id uuid not null references messages (id) on delete cascade,
        reporter_id uuid not null,
        reason text not null,
        state text not null check (state in ('open', 'dismissed', 'deleted')),
        created_at timestamptz not null,
        decided_by uuid,
        decided_at timestamptz,
        unique (message_id, reporter_id)
      )`,
      'create index reports_open on reports (room_id, id)',
      `create table filter_words (
        id uuid primary key,
        room_id uuid references rooms (id) on delete cascade,
        word text not null,
        action text not null check (action in ('refuse', 'review')),
        created_by uuid not null,
        created_at timestamptz not null,
        unique nulls not distinct (room_id, word)
      )`,
      `create table held_messages (
        id uuid primary key,
        room_id uuid not null references rooms (id) on delete cascade,
        author_id uuid not null,
        client_id text not null,
        body text not null,
        reply_to uuid,
        attachments jsonb not null,
        word text not null,
        created_at timestamptz not null,
        unique (room_id, author_id, client_id)
      )`,
      'create index held_messages_room on held_messages (room_id, id)',
      `create table audit (
        id uuid primary key,
        room_id uuid references rooms (id) on delete cascade,
        actor_id uuid not null,
        action text not null,
        target_id uuid,
        message_id uuid,
        reason text not null,
        details jsonb not null,
        at timestamptz not null
      )`,
      'create index audit_room on audit (room_id, id)',
    ],
  },
  {
    name: '014-webhooks',
    statements: [
      `create table webhooks (
        id uuid primary key,
        room_id uuid not null references rooms (id) on delete cascade,
        name text not null,
        secret_digest bytea not null,
        created_by uuid not null,
        created_at timestamptz not null,
        rotated_at timestamptz,
        last_used_at timestamptz
      )`,
      'create index webhooks_room on webhooks (room_id, id)',
    ],
  },
];
