import { type Kysely, sql } from 'kysely';
import type { RoomKind } from '../../../shared/contracts/chat.ts';
import type { EventEnvelope } from '../../../shared/contracts/events.ts';
import type { PostingFacts } from './posting-facts.ts';
import type { ChatTables, MessagesTable } from './tables.ts';

/** What sending many messages in one transaction asks and writes: a few statements, however many they are. */

export interface SendRoom {
  id: string;
  kind: RoomKind;
  name: string;
  course_id: string | null;
  archived: boolean;
  locked: boolean;
  slow_mode_seconds: number;
}

/**
 * Locks the rooms' rows until the transaction ends: whoever numbers messages or changes in a room has its row.
 * In the order of ids, so that two processes with the same rooms wait for each other and never in a circle.
 */
export async function lockRooms(db: Kysely<ChatTables>, roomIds: string[]): Promise<void> {
  await sql`
    select 1 from rooms where id = any(${[...new Set(roomIds)]}::uuid[]) order by id for no key update`.execute(
    db,
  );
}

export interface SenderRow extends Omit<PostingFacts, 'archived' | 'locked' | 'slow_mode_seconds'> {
  name: string | null;
  bot: boolean | null;
  banned: boolean;
  /** null while banned: without end. */
  banned_until: Date | null;
  /** The message that this author has sent to this room under this client id before. */
  sent_id: string | null;
}

/**
 * Of each author what decides whether they may write, and what they have sent already, in the order given; and the
 * rooms by id. The laterals have limits so that each is a look into an index: joined, a plan made for one batch would
 * read whole tables for the next. The rooms come with the first row: two statements would be two round trips.
 */
export async function findSenders(
  db: Kysely<ChatTables>,
  sends: { roomId: string; authorId: string; clientId: string }[],
): Promise<{ rooms: Map<string, SendRoom>; senders: SenderRow[] }> {
  const roomIds = sends.map(({ roomId }) => roomId);
  const { rows } = await sql<SenderRow & { rooms: SendRoom[] | null }>`
    select m.role, m.last_sent_at, p.display_name as name, p.bot, x.id as sent_id,
      coalesce(k.muted, false) as muted, k.muted_until, coalesce(k.banned, false) as banned, k.banned_until,
      case when s.n = 1 then (
        select jsonb_agg(to_jsonb(r)) from (
          select id, kind, name, course_id, archived, locked, slow_mode_seconds from rooms
          where id = any(${[...new Set(roomIds)]}::uuid[])) r) end as rooms
    from unnest(${roomIds}::uuid[], ${sends.map(({ authorId }) => authorId)}::uuid[],
      ${sends.map(({ clientId }) => clientId)}::text[]) with ordinality as s (room_id, user_id, client_id, n)
    left join lateral (select role, last_sent_at from members
      where room_id = s.room_id and user_id = s.user_id limit 1) m on true
    left join lateral (select display_name, bot from people where user_id = s.user_id limit 1) p on true
    left join lateral (select id from messages
      where room_id = s.room_id and author_id = s.user_id and client_id = s.client_id limit 1) x on true
    left join lateral (
      select bool_or(kind = 'mute') as muted, max(until) filter (where kind = 'mute') as muted_until,
        bool_or(kind = 'ban') as banned, max(until) filter (where kind = 'ban') as banned_until
      from sanctions where room_id = s.room_id and user_id = s.user_id and (until is null or until > now())
      limit 1) k on true
    order by s.n`.execute(db);
  return { rooms: new Map((rows[0]?.rooms ?? []).map((room) => [room.id, room])), senders: rows };
}

/** What a new message is stored with; everything else of its row begins as the table says. */
export type NewMessageRow = Pick<
  MessagesTable,
  'id' | 'room_id' | 'client_id' | 'author_id' | 'body' | 'mentions' | 'reply_to' | 'attachments'
> & {
  mentions_room: boolean;
  /** Its author is a member who was there, and has read what is before it. */
  present: boolean;
};

/**
 * Gives each message the next number of its room, in the order given, and stores it, with the events that tell of it
 * (`data.seq` is filled in, `subject` is the message's id), all or none of them. One statement, so that on its own it
 * is a transaction in a single round trip. The rooms' rows are locked until its end: numbers follow the order of
 * commits, and a failure leaves no gap. Rejects with 23505 when one of the client ids has been stored meanwhile.
 */
export async function insertMessages(
  db: Kysely<ChatTables>,
  messages: NewMessageRow[],
  events: EventEnvelope[],
): Promise<Map<string, { seq: number; createdAt: Date }>> {
  const column = <K extends keyof NewMessageRow>(name: K) => messages.map((message) => message[name]);
  const { rows } = await sql<{ id: string; seq: number; created_at: Date }>`
    with given as (
      select *, row_number() over (partition by room_id order by n)::int as place
      from unnest(${column('id')}::uuid[], ${column('room_id')}::uuid[], ${column('client_id')}::text[],
        ${column('author_id')}::uuid[], ${column('body')}::text[],
        ${column('mentions').map((value) => JSON.stringify(value))}::text[], ${column('mentions_room')}::bool[],
        ${column('reply_to')}::uuid[], ${column('attachments').map((value) => JSON.stringify(value))}::text[],
        ${column('present')}::bool[]) with ordinality
        as g (id, room_id, client_id, author_id, body, mentions, mentions_room, reply_to, attachments, present, n)),
    locked as materialized (
      select id from rooms where id = any(${[...new Set(column('room_id'))]}::uuid[]) order by id for no key update),
    moved as (
      update rooms r set last_seq = r.last_seq + c.count, active_at = date_trunc('milliseconds', clock_timestamp())
      from (select room_id, max(place) as count from given group by room_id) c join locked l on l.id = c.room_id
      where r.id = c.room_id returning r.id, r.last_seq - c.count as before, r.active_at as at),
    stored as (
      insert into messages (id, room_id, seq, client_id, author_id, body, mentions, mentions_room, reply_to,
        attachments, created_at)
      select g.id, g.room_id, m.before + g.place, g.client_id, g.author_id, g.body, g.mentions::jsonb, g.mentions_room,
        g.reply_to, g.attachments::jsonb, m.at
      from given g join moved m on m.id = g.room_id
      returning id, seq, created_at),
    told as (
      insert into outbox (id, name, envelope)
      select (e ->> 'id')::uuid, e ->> 'name', jsonb_set(e, '{data,seq}', to_jsonb(s.seq))
      from jsonb_array_elements(${events}::jsonb) e join stored s on s.id = (e ->> 'subject')::uuid),
    noted as (
      update members x set last_sent_at = a.at, read_seq = greatest(x.read_seq, a.seq)
      from (select g.room_id, g.author_id, m.at, max(m.before + g.place) as seq
        from given g join moved m on m.id = g.room_id where g.present group by g.room_id, g.author_id, m.at) a
      where x.room_id = a.room_id and x.user_id = a.author_id)
    select id, seq, created_at from stored`.execute(db);
  return new Map(rows.map((row) => [row.id, { seq: row.seq, createdAt: row.created_at }]));
}

/** The members among those named, each in their room, with their names. */
export async function findMentioned(
  db: Kysely<ChatTables>,
  named: { roomId: string; userId: string }[],
): Promise<{ room_id: string; user_id: string; display_name: string | null }[]> {
  if (named.length === 0) return [];
  const { rows } = await sql<{ room_id: string; user_id: string; display_name: string | null }>`
    select distinct m.room_id, m.user_id, p.display_name
    from unnest(${named.map(({ roomId }) => roomId)}::uuid[], ${named.map(({ userId }) => userId)}::uuid[]) as s (room_id, user_id)
    join members m on m.room_id = s.room_id and m.user_id = s.user_id
    left join people p on p.user_id = m.user_id`.execute(db);
  return rows;
}

/** Everybody in some rooms. */
export async function membersOf(db: Kysely<ChatTables>, roomIds: string[]): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  if (roomIds.length === 0) return found;
  const rows = await db
    .selectFrom('members')
    .select(['room_id', 'user_id'])
    .where('room_id', 'in', roomIds)
    .execute();
  for (const row of rows) found.set(row.room_id, [...(found.get(row.room_id) ?? []), row.user_id]);
  return found;
}
