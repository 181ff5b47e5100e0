import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { RoomKind } from '../../../shared/contracts/chat.ts';
import type { PostingFacts } from './posting-facts.ts';
import type { ChatTables, MessagesTable } from './tables.ts';

/** What sending many messages in one transaction asks and writes: a few statements, however many they are. */

export interface LockedRoom {
  id: string;
  kind: RoomKind;
  name: string;
  course_id: string | null;
  last_seq: number;
  archived: boolean;
  locked: boolean;
  slow_mode_seconds: number;
}

/**
 * The rooms by id, locked until the transaction ends: whoever numbers messages or changes in a room has its row.
 * In the order of ids, so that two processes with the same rooms wait for each other and never in a circle.
 */
export async function lockRooms(db: Kysely<ChatTables>, roomIds: string[]): Promise<Map<string, LockedRoom>> {
  const { rows } = await sql<LockedRoom>`
    select id, kind, name, course_id, last_seq, archived, locked, slow_mode_seconds from rooms
    where id = any(${[...new Set(roomIds)]}::uuid[]) order by id for no key update`.execute(db);
  return new Map(rows.map((room) => [room.id, room]));
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
 * Of each author what decides whether they may write, and what they have sent already; in the order given. The
 * laterals have limits so that each is a look into an index: joined, a plan made for one batch would read whole tables
 * for the next.
 */
export async function findSenders(
  db: Kysely<ChatTables>,
  sends: { roomId: string; authorId: string; clientId: string }[],
): Promise<SenderRow[]> {
  const { rows } = await sql<SenderRow>`
    select m.role, m.last_sent_at, p.display_name as name, p.bot, x.id as sent_id,
      coalesce(k.muted, false) as muted, k.muted_until, coalesce(k.banned, false) as banned, k.banned_until
    from unnest(${sends.map(({ roomId }) => roomId)}::uuid[], ${sends.map(({ authorId }) => authorId)}::uuid[],
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
  return rows;
}

/** What a new message is stored with; everything else of its row begins as the table says. */
export type NewMessageRow = Pick<
  MessagesTable,
  'id' | 'room_id' | 'seq' | 'client_id' | 'author_id' | 'body' | 'mentions' | 'reply_to' | 'attachments'
> & { mentions_room: boolean; created_at: Date };

/**
 * Stores messages that have the next numbers of their rooms, which are locked, and moves the rooms on. `besides` are
 * further statements that go along in the same round trip.
 */
export async function insertMessages(
  db: Kysely<ChatTables>,
  messages: NewMessageRow[],
  besides: RawBuilder<unknown>[],
): Promise<void> {
  const column = <K extends keyof NewMessageRow>(name: K) => messages.map((message) => message[name]);
  const last = new Map(messages.map((message) => [message.room_id, message]));
  const ends = [...last.values()];
  await sql`
    with moved as (
      update rooms r set last_seq = e.seq, active_at = e.at
      from unnest(${ends.map((end) => end.room_id)}::uuid[], ${ends.map((end) => end.seq)}::int[],
        ${ends.map((end) => end.created_at)}::timestamptz[]) as e (id, seq, at) where r.id = e.id)
      ${sql.join(
        besides.map((statement, index) => sql`, ${sql.raw(`besides_${index}`)} as (${statement})`),
        sql` `,
      )}
    insert into messages (id, room_id, seq, client_id, author_id, body, mentions, mentions_room, reply_to,
      attachments, created_at)
    select id, room_id, seq, client_id, author_id, body, mentions::jsonb, mentions_room, reply_to,
      attachments::jsonb, created_at
    from unnest(${column('id')}::uuid[], ${column('room_id')}::uuid[], ${column('seq')}::int[],
      ${column('client_id')}::text[], ${column('author_id')}::uuid[], ${column('body')}::text[],
      ${column('mentions').map((value) => JSON.stringify(value))}::text[], ${column('mentions_room')}::bool[],
      ${column('reply_to')}::uuid[], ${column('attachments').map((value) => JSON.stringify(value))}::text[],
      ${column('created_at')}::timestamptz[])
      as n (id, room_id, seq, client_id, author_id, body, mentions, mentions_room, reply_to, attachments,
        created_at)`.execute(db);
}

/** Notes when members have sent last, and that they have read up to there: who writes has the room before them. */
export const noteSent = (
  sent: { roomId: string; userId: string; seq: number }[],
  at: Date,
): RawBuilder<unknown> => sql`
    update members m set last_sent_at = ${at}, read_seq = greatest(m.read_seq, s.seq)
    from (select room_id, user_id, max(seq) as seq
      from unnest(${sent.map(({ roomId }) => roomId)}::uuid[], ${sent.map(({ userId }) => userId)}::uuid[],
        ${sent.map(({ seq }) => seq)}::int[]) as n (room_id, user_id, seq) group by room_id, user_id) s
    where m.room_id = s.room_id and m.user_id = s.user_id`;

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
