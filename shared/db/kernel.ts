import type { Generated, Kysely } from 'kysely';

/** Tables that every service has in its own schema: delivery and idempotency. */
export interface KernelTables {
  outbox: {
    id: string;
    name: string;
    envelope: unknown;
    created_at: Generated<Date>;
    claimed_until: Date | null;
    attempts: Generated<number>;
    published_at: Date | null;
  };
  inbox: { queue: string; event_id: string; handled_at: Generated<Date> };
  dead_letters: {
    id: string;
    queue: string;
    event_id: string | null;
    content: string;
    reason: string;
    attempts: number;
    created_at: Generated<Date>;
    replayed_at: Date | null;
  };
  idempotency_keys: {
    scope: string;
    key: string;
    body_hash: string;
    status: number | null;
    reply: unknown;
    created_at: Generated<Date>;
  };
}

/** A database or an open transaction of it. Store functions take it first, always. */
export type Executor<S> = Kysely<S>;

export interface Migration {
  /** Sorts by name; never renamed or edited once released. */
  name: string;
  /** One transaction. It holds its locks to the end: on a large table, add columns in one and fill them in the next. */
  statements: string[];
  /** For tables that may be large. */
  indexes?: ConcurrentIndex[];
}

/** An index that is built while others write (`create index concurrently`), outside of any transaction. */
export interface ConcurrentIndex {
  name: string;
  /** `messages (room_id, seq) where …` */
  on: string;
  unique?: boolean;
}

export const kernelMigrations: Migration[] = [
  {
    name: '000-kernel',
    statements: [
      `create table outbox (
        id uuid primary key,
        name text not null,
        envelope jsonb not null,
        created_at timestamptz not null default now(),
        claimed_until timestamptz,
        attempts int not null default 0,
        published_at timestamptz
      )`,
      'create index outbox_pending on outbox (created_at) where published_at is null',
      'create index outbox_published on outbox (published_at) where published_at is not null',
      `create table inbox (
        queue text not null,
        event_id uuid not null,
        handled_at timestamptz not null default now(),
        primary key (queue, event_id)
      )`,
      'create index inbox_handled on inbox (handled_at)',
      `create table dead_letters (
        id uuid primary key,
        queue text not null,
        event_id uuid,
        content text not null,
        reason text not null,
        attempts int not null,
        created_at timestamptz not null default now(),
        replayed_at timestamptz
      )`,
      `create table idempotency_keys (
        scope text not null,
        key text not null,
        body_hash text not null,
        status int,
        reply jsonb,
        created_at timestamptz not null default now(),
        primary key (scope, key)
      )`,
      'create index idempotency_keys_created on idempotency_keys (created_at)',
    ],
  },
];
