import type { Kysely } from 'kysely';
import type { ChatTables } from './tables.ts';

export interface InvitationRow {
  id: string;
  room_id: string;
  room_name: string;
  user_id: string;
  user_name: string | null;
  invited_by: string;
  by_name: string | null;
  created_at: Date;
}

const invitationRows = (db: Kysely<ChatTables>) =>
  db
    .selectFrom('invitations as i')
    .innerJoin('rooms as r', 'r.id', 'i.room_id')
    .leftJoin('people as p', 'p.user_id', 'i.user_id')
    .leftJoin('people as b', 'b.user_id', 'i.invited_by')
    .select([
      'i.id',
      'i.room_id',
      'r.name as room_name',
      'i.user_id',
      'p.display_name as user_name',
      'i.invited_by',
      'b.display_name as by_name',
      'i.created_at',
    ]);

/** Who is invited already stays so. Returns which are new. */
export async function insertInvitations(
  db: Kysely<ChatTables>,
  invitations: { id: string; room_id: string; user_id: string; invited_by: string; created_at: Date }[],
): Promise<Set<string>> {
  if (invitations.length === 0) return new Set();
  const rows = await db
    .insertInto('invitations')
    .values(invitations)
    .onConflict((conflict) => conflict.columns(['room_id', 'user_id']).doNothing())
    .returning('id')
    .execute();
  return new Set(rows.map((row) => row.id));
}

export const findInvitation = (db: Kysely<ChatTables>, id: string): Promise<InvitationRow | undefined> =>
  invitationRows(db).where('i.id', '=', id).executeTakeFirst();

/** To a room or to a user, in the order of inviting; one more than `limit` if there are more. */
export function listInvitations(
  db: Kysely<ChatTables>,
  of: { roomId: string; userIds?: string[] } | { userId: string },
  limit: number,
  after?: string,
): Promise<InvitationRow[]> {
  let query = invitationRows(db);
  if ('userId' in of) query = query.where('i.user_id', '=', of.userId);
  else {
    query = query.where('i.room_id', '=', of.roomId);
    if (of.userIds) query = query.where('i.user_id', 'in', of.userIds);
  }
  if (after) query = query.where('i.id', '>', after);
  return query
    .orderBy('i.id')
    .limit(limit + 1)
    .execute();
}

/** True if it was there. */
export async function deleteInvitation(
  db: Kysely<ChatTables>,
  of: { id: string } | { roomId: string; userId: string },
): Promise<boolean> {
  let query = db.deleteFrom('invitations');
  query =
    'id' in of
      ? query.where('id', '=', of.id)
      : query.where('room_id', '=', of.roomId).where('user_id', '=', of.userId);
  return (await query.executeTakeFirst()).numDeletedRows > 0n;
}
