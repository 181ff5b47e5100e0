import { type Expression, type Kysely, sql } from 'kysely';
import type { RoomChange, RoomKind, RoomRole } from '../../../shared/contracts/chat.ts';
import type { ChatTables } from './tables.ts';

/** A room as one person sees it. */
export interface RoomRow {
  id: string;
  kind: RoomKind;
  name: string;
  course_id: string | null;
  last_seq: number;
  last_change: number;
  archived: boolean;
  created_at: Date;
  active_at: Date;
  locked: boolean;
  slow_mode_seconds: number;
  receipts: boolean;
  retention_days: number | null;
  first_seq: number;
  /** Undefined fields of a viewer who is no member are null. */
  my_role: RoomRole | null;
  my_read_seq: number | null;
  my_name: string | null;
  other_name: string | null;
}

const viewedBy = (db: Kysely<ChatTables>, viewerId: string) =>
  db
    .selectFrom('rooms as r')
    .leftJoin('members as m', (join) => join.onRef('m.room_id', '=', 'r.id').on('m.user_id', '=', viewerId))
    .leftJoin('people as me', (join) => join.on('me.user_id', '=', viewerId))
    .select([
      'r.id',
      'r.kind',
      'r.name',
      'r.course_id',
      'r.last_seq',
      'r.last_change',
      'r.archived',
      'r.created_at',
      'r.active_at',
      'r.locked',
      'r.slow_mode_seconds',
      'r.receipts',
      'r.retention_days',
      'r.first_seq',
      'm.role as my_role',
      'm.read_seq as my_read_seq',
      'me.display_name as my_name',
    ])
    .select((eb) => otherName(eb.ref('r.id'), viewerId).as('other_name'));

/** A direct room is called after the other one. */
const otherName = (roomId: Expression<string>, viewerId: string) =>
  sql<string | null>`case when r.kind = 'direct' then (
    select p.display_name from members o join people p on p.user_id = o.user_id
    where o.room_id = ${roomId} and o.user_id <> ${viewerId} limit 1) end`;

export const findRoom = (
  db: Kysely<ChatTables>,
  roomId: string,
  viewerId: string,
): Promise<RoomRow | undefined> => viewedBy(db, viewerId).where('r.id', '=', roomId).executeTakeFirst();

/** Whether there is such a room, and whether it is archived. */
export const findRoomState = (
  db: Kysely<ChatTables>,
  roomId: string,
): Promise<{ archived: boolean } | undefined> =>
  db.selectFrom('rooms').select('archived').where('id', '=', roomId).executeTakeFirst();

/** The viewer's rooms, last active first; one more than `limit` if there are more. */
export function listRooms(
  db: Kysely<ChatTables>,
  viewerId: string,
  options: {
    limit: number;
    after?: [activeAt: string, id: string] | undefined;
    courseId?: string | undefined;
    archived?: boolean | undefined;
  },
): Promise<RoomRow[]> {
  let query = viewedBy(db, viewerId).where('m.user_id', 'is not', null);
  if (options.courseId) query = query.where('r.course_id', '=', options.courseId);
  if (options.archived !== undefined) query = query.where('r.archived', '=', options.archived);
  if (options.after) {
    const [activeAt, id] = options.after;
    query = query.where(sql<boolean>`(r.active_at, r.id) < (${activeAt}::timestamptz, ${id}::uuid)`);
  }
  return query
    .orderBy('r.active_at', 'desc')
    .orderBy('r.id', 'desc')
    .limit(options.limit + 1)
    .execute();
}

/** False if the course or the pair has its room already. */
export async function insertRoom(
  db: Kysely<ChatTables>,
  room: {
    id: string;
    kind: RoomKind;
    name: string;
    courseId: string | null;
    pairKey: string | null;
    at: Date;
  },
): Promise<boolean> {
  const result = await db
    .insertInto('rooms')
    .values({
      id: room.id,
      kind: room.kind,
      name: room.name,
      course_id: room.courseId,
      pair_key: room.pairKey,
      created_at: room.at,
      active_at: room.at,
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return Number(result.numInsertedOrUpdatedRows ?? 0) > 0;
}

export async function findPairRoom(db: Kysely<ChatTables>, pairKey: string): Promise<string | undefined> {
  const row = await db.selectFrom('rooms').select('id').where('pair_key', '=', pairKey).executeTakeFirst();
  return row?.id;
}

/** Changes settings; what is undefined stays. */
export async function changeRoom(db: Kysely<ChatTables>, roomId: string, change: RoomChange): Promise<void> {
  await db
    .updateTable('rooms')
    .set({
      name: change.name,
      archived: change.archived,
      locked: change.locked,
      slow_mode_seconds: change.slowModeSeconds,
      receipts: change.receipts,
      retention_days: change.retentionDays,
    })
    .where('id', '=', roomId)
    .execute();
}

/** The last numbers given to messages and to changes of them. */
export async function lastNumbersOf(
  db: Kysely<ChatTables>,
  roomIds: string[],
): Promise<Map<string, { lastSeq: number; lastChange: number }>> {
  if (roomIds.length === 0) return new Map();
  const { rows } = await sql<{ id: string; last_seq: number; last_change: number }>`
    select id, last_seq, last_change from rooms where id = any(${roomIds}::uuid[])`.execute(db);
  return new Map(rows.map((row) => [row.id, { lastSeq: row.last_seq, lastChange: row.last_change }]));
}
