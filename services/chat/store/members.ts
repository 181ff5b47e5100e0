import { type Kysely, sql } from 'kysely';
import type { RoomRole } from '../../../shared/contracts/chat.ts';
import { hidersAmong } from './people.ts';
import type { ChatTables } from './tables.ts';

export interface MemberRow {
  user_id: string;
  role: RoomRole;
  joined_at: Date;
  read_seq: number;
  display_name: string | null;
}

const memberRows = (db: Kysely<ChatTables>, roomId: string) =>
  db
    .selectFrom('members as m')
    .leftJoin('people as p', 'p.user_id', 'm.user_id')
    .where('m.room_id', '=', roomId)
    .select(['m.user_id', 'm.role', 'm.joined_at', 'm.read_seq', 'p.display_name']);

/** In the order of joining; one more than `limit` if there are more. */
export function listMembers(
  db: Kysely<ChatTables>,
  roomId: string,
  limit: number,
  after?: [joinedAt: string, userId: string],
): Promise<MemberRow[]> {
  let query = memberRows(db, roomId);
  if (after)
    query = query.where(
      sql<boolean>`(m.joined_at, m.user_id) > (${after[0]}::timestamptz, ${after[1]}::uuid)`,
    );
  return query
    .orderBy('m.joined_at')
    .orderBy('m.user_id')
    .limit(limit + 1)
    .execute();
}

export const findMembers = (
  db: Kysely<ChatTables>,
  roomId: string,
  userIds: string[],
): Promise<MemberRow[]> =>
  userIds.length === 0
    ? Promise.resolve([])
    : memberRows(db, roomId).where('m.user_id', 'in', userIds).execute();

export async function memberIds(db: Kysely<ChatTables>, roomId: string): Promise<string[]> {
  const rows = await db.selectFrom('members').select('user_id').where('room_id', '=', roomId).execute();
  return rows.map((row) => row.user_id);
}

export async function isMember(db: Kysely<ChatTables>, roomId: string, userId: string): Promise<boolean> {
  return (await findMembers(db, roomId, [userId])).length > 0;
}

/** The members who let others see that they are online. */
export async function visibleMemberIds(db: Kysely<ChatTables>, roomId: string): Promise<string[]> {
  const rows = await db
    .selectFrom('members as m')
    .leftJoin('people as p', 'p.user_id', 'm.user_id')
    .where('m.room_id', '=', roomId)
    .where(sql<boolean>`p.hides_presence is not true`)
    .select('m.user_id')
    .execute();
  return rows.map((row) => row.user_id);
}

/** Which rooms each of the users is in; of somebody who hides their presence, none. */
export async function roomsToTell(db: Kysely<ChatTables>, userIds: string[]): Promise<Map<string, string[]>> {
  const hidden = await hidersAmong(db, userIds);
  return roomsOf(
    db,
    userIds.filter((userId) => !hidden.has(userId)),
  );
}

/** Which rooms each of the users is in. */
export async function roomsOf(db: Kysely<ChatTables>, userIds: string[]): Promise<Map<string, string[]>> {
  const rooms = new Map<string, string[]>();
  if (userIds.length === 0) return rooms;
  const rows = await db
    .selectFrom('members')
    .select(['user_id', 'room_id'])
    .where('user_id', 'in', userIds)
    .execute();
  for (const row of rows) rooms.set(row.user_id, [...(rooms.get(row.user_id) ?? []), row.room_id]);
  return rooms;
}

/** Who is in already stays as they are. New members have read what was there before them. */
export async function addMembers(
  db: Kysely<ChatTables>,
  roomId: string,
  members: { userId: string; role: RoomRole }[],
  at: Date,
): Promise<void> {
  if (members.length === 0) return;
  await db
    .insertInto('members')
    .values((eb) =>
      members.map(({ userId, role }) => ({
        room_id: roomId,
        user_id: userId,
        role,
        read_seq: eb.selectFrom('rooms').select('last_seq').where('id', '=', roomId),
        joined_at: at,
      })),
    )
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** True if the user was in. Every process takes their sockets out, at the latest when it sees the departure. */
export async function removeMember(
  db: Kysely<ChatTables>,
  roomId: string,
  userId: string,
  reason: string,
): Promise<boolean> {
  const { rows } = await sql`
    with gone as (delete from members where room_id = ${roomId} and user_id = ${userId} returning room_id, user_id)
    insert into departures (room_id, user_id, reason) select room_id, user_id, ${reason} from gone
    on conflict (room_id, user_id) do update set reason = excluded.reason, at = excluded.at
    returning 1`.execute(db);
  return rows.length > 0;
}

/** Who has left which room within the last `seconds` and is not back. */
export async function recentDepartures(
  db: Kysely<ChatTables>,
  seconds: number,
): Promise<{ room_id: string; user_id: string; reason: string; until: Date | null }[]> {
  const { rows } = await sql<{ room_id: string; user_id: string; reason: string; until: Date | null }>`
    select d.room_id, d.user_id, d.reason, s.until from departures d
    left join sanctions s on s.room_id = d.room_id and s.user_id = d.user_id and s.kind = 'ban'
    where d.at > now() - make_interval(secs => ${seconds})
      and not exists (select 1 from members m where m.room_id = d.room_id and m.user_id = d.user_id)`.execute(
    db,
  );
  return rows;
}

export async function forgetDepartures(db: Kysely<ChatTables>, seconds: number): Promise<void> {
  await sql`delete from departures where at < now() - make_interval(secs => ${seconds})`.execute(db);
}

export async function setRole(
  db: Kysely<ChatTables>,
  roomId: string,
  userId: string,
  role: RoomRole,
): Promise<void> {
  await db
    .updateTable('members')
    .set({ role })
    .where('room_id', '=', roomId)
    .where('user_id', '=', userId)
    .execute();
}

/** The owner becomes a moderator: somebody else is made the owner. */
export async function demoteOwner(db: Kysely<ChatTables>, roomId: string): Promise<void> {
  await db
    .updateTable('members')
    .set({ role: 'moderator' })
    .where('room_id', '=', roomId)
    .where('role', '=', 'owner')
    .execute();
}

/** If nobody is the owner, makes the moderator, or else the member, who has been in longest the owner. */
export async function ensureOwner(db: Kysely<ChatTables>, roomId: string): Promise<void> {
  await sql`update members set role = 'owner' where room_id = ${roomId}
    and user_id = (select user_id from members where room_id = ${roomId}
      order by role = 'moderator' desc, joined_at, user_id limit 1)
    and not exists (select 1 from members where room_id = ${roomId} and role = 'owner')`.execute(db);
}

/** Moves the read mark forward, never back and never past the last message. */
export async function markReadUpTo(
  db: Kysely<ChatTables>,
  roomId: string,
  userId: string,
  seq: number,
): Promise<{ seq: number; moved: boolean }> {
  const moved = await db
    .updateTable('members')
    .set({ read_seq: seq })
    .where('room_id', '=', roomId)
    .where('user_id', '=', userId)
    .where('read_seq', '<', seq)
    .returning('read_seq')
    .executeTakeFirst();
  if (moved) return { seq: moved.read_seq, moved: true };
  const row = await db
    .selectFrom('members')
    .select('read_seq')
    .where('room_id', '=', roomId)
    .where('user_id', '=', userId)
    .executeTakeFirst();
  return { seq: row?.read_seq ?? 0, moved: false };
}
