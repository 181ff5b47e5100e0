import { type Kysely, sql } from 'kysely';
import type { RoomKind } from '../../../shared/contracts/chat.ts';
import type { EventEnvelope } from '../../../shared/contracts/events.ts';
import type { PostingFacts } from './posting-facts.ts';
import type { ChatTables, MessagesTable } from './tables.ts';

/** What sending many messages in one transaction asks and writes: a statement or a few, however many they are. */

export interface SendRoom {
  id: string;
  kind: RoomKind;
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
          select id, kind, course_id, archived, locked, slow_mode_seconds from rooms
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
  /** What tells of it. Of their `data` the number and all names are filled in. */
  events: EventEnvelope[];
};

/** What a message has become. */
export interface StoredRow {
  id: string;
  seq: number;
  created_at: Date;
  author_name: string | null;
  author_bot: boolean | null;
}

export interface Inserted {
  /** By id. */
  messages: Map<string, StoredRow>;
  /** As they are in the outbox. */
  events: EventEnvelope[];
}

/**
 * Gives each message the next number of its room, in the order given, and stores it, with the events that tell of it, all
 * or none of them. One statement, so that on its own it is a transaction in a single round trip. The rooms' rows are
 * locked until its end: numbers follow the order of commits, and a failure leaves no gap. Rejects with 23505 when one of
 * the client ids has been stored meanwhile.
 *
 * `claimSeconds`: the events are the caller's to publish for so long; 0 leaves them to whichever relay comes first.
 *
 * `plainOnly`: what the caller has not made sure of is asked here. A room's messages are left out if for one of them there
 * is anything to decide: no such room, no member, a sanction, slow mode, a client id that is known, an author without a name.
 * Of the room itself it is asked again when its row's lock has been waited for.
 *
 * The messages are one JSON value and not an array for each column: by the length of an array PostgreSQL finds a plan made
 * for it cheaper than a general one, and would make a new one each time, for longer than it then works.
 */
export async function insertMessages(
  db: Kysely<ChatTables>,
  messages: NewMessageRow[],
  { plainOnly, claimSeconds }: { plainOnly: boolean; claimSeconds: number },
): Promise<Inserted> {
  if (messages.length === 0) return { messages: new Map(), events: [] };
  const { rows } = await sql<StoredRow & { events: EventEnvelope[] | null }>`
    with given as materialized (
      select g.*, p.display_name, p.bot,
        r.id is not null and (not ${plainOnly}::bool or (not r.archived and not r.locked and r.slow_mode_seconds = 0
          and m.role is not null and p.display_name is not null and k.room_id is null and x.id is null)) as fits,
        jsonb_build_object('courseId', r.course_id, 'authorName', coalesce(p.display_name, ''),
          'roomName', case r.kind when 'direct' then coalesce(p.display_name, '') else r.name end) as facts
      from jsonb_to_recordset(${placed(messages)}::jsonb) as g (id uuid, room_id uuid, client_id text, author_id uuid,
        body text, mentions jsonb, mentions_room bool, reply_to uuid, attachments jsonb, events jsonb,
        place int, ends_room bool, read_by_author bool)
      left join lateral (select id, kind, name, course_id, archived, locked, slow_mode_seconds from rooms
        where id = g.room_id limit 1) r on true
      left join lateral (select role from members
        where room_id = g.room_id and user_id = g.author_id limit 1) m on true
      left join lateral (select display_name, bot from people where user_id = g.author_id limit 1) p on true
      left join lateral (select room_id from sanctions
        where room_id = g.room_id and user_id = g.author_id and (until is null or until > now()) limit 1) k on true
      left join lateral (select id from messages
        where room_id = g.room_id and author_id = g.author_id and client_id = g.client_id limit 1) x on true),
    fitting as materialized (
      select * from given where room_id not in (select room_id from given where not fits)),
    locked as materialized (
      select id from rooms where id = any(array(select room_id from fitting))
        and (not ${plainOnly}::bool or (not archived and not locked and slow_mode_seconds = 0))
      order by id for no key update),
    moved as (
      update rooms r set last_seq = r.last_seq + g.place, active_at = date_trunc('milliseconds', clock_timestamp())
      from fitting g where r.id = any(array(select id from locked)) and g.ends_room and g.room_id = r.id
      returning r.id, r.last_seq - g.place as before, r.active_at as at),
    numbered as materialized (
      select g.*, m.before + g.place as seq, m.at from fitting g join moved m on m.id = g.room_id),
    stored as (
      insert into messages (id, room_id, seq, client_id, author_id, body, mentions, mentions_room, reply_to,
        attachments, created_at)
      select id, room_id, seq, client_id, author_id, body, mentions, mentions_room, reply_to, attachments, at
      from numbered),
    told as (
      insert into outbox (id, name, envelope, claimed_until, attempts)
      select (e ->> 'id')::uuid, e ->> 'name',
        jsonb_set(e, '{data}', (e -> 'data') || g.facts || jsonb_build_object('seq', g.seq)),
        case when c.seconds > 0 then now() + c.seconds * interval '1 second' end, (c.seconds > 0)::int
      from (select ${claimSeconds}::int as seconds) c, numbered g cross join lateral jsonb_array_elements(g.events) e
      returning envelope),
    noted as (
      update members x set last_sent_at = g.at, read_seq = greatest(x.read_seq, g.seq)
      from numbered g where g.read_by_author and x.room_id = g.room_id and x.user_id = g.author_id)
    select id, seq, at as created_at, display_name as author_name, bot as author_bot,
      case when row_number() over () = 1 then (select jsonb_agg(envelope) from told) end as events
    from numbered`.execute(db);
  return {
    messages: new Map(rows.map(({ events, ...row }) => [row.id, row])),
    events: rows.flatMap(({ events }) => events ?? []),
  };
}

/** Messages with their places among those to their room, and which of them end a room's, and an author's there. */
function placed(messages: NewMessageRow[]) {
  const places = new Map<string, number>();
  const lastTo = new Map(messages.map(({ id, room_id }) => [room_id, id]));
  const lastOf = new Map(
    messages.flatMap(({ id, room_id, author_id, present }) =>
      present ? [[`${room_id} ${author_id}`, id]] : [],
    ),
  );
  return messages.map(({ id, room_id, author_id, present, client_id, body, events, ...more }) => {
    const { mentions, mentions_room, reply_to, attachments } = more;
    const place = (places.get(room_id) ?? 0) + 1;
    places.set(room_id, place);
    const ends_room = lastTo.get(room_id) === id;
    const read_by_author = present && lastOf.get(`${room_id} ${author_id}`) === id;
    const content = { client_id, author_id, body, mentions, mentions_room, reply_to, attachments };
    return { id, room_id, ...content, events, place, ends_room, read_by_author };
  });
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
