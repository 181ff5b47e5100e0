import type { NewSanction, Sanction, SanctionKind } from '../../../shared/contracts/chat-moderation.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { roleInCourse } from '../store/courses.ts';
import { deleteInvitation } from '../store/invitations.ts';
import {
  addMembers,
  ensureOwner,
  forgetDepartures as forgetOldDepartures,
  removeMember,
} from '../store/members.ts';
import { knownPeople } from '../store/people.ts';
import { findRoom } from '../store/rooms.ts';
import {
  deleteSanction,
  findSanction,
  listSanctions as listRows,
  putSanction,
  type SanctionRow,
  takeExpired,
} from '../store/sanctions.ts';
import { noteAudit } from './audit.ts';
import { checkedKey } from './keyset.ts';
import { refuseOutranked } from './ranks.ts';
import { moderatedRoom } from './room-access.ts';

const EXPIRED_AT_ONCE = 100;
const DEPARTURES_KEPT_SECONDS = 600;

interface Target {
  roomId: string;
  userId: string;
  kind: SanctionKind;
}

/**
 * Mutes somebody in a room, or bans them from it, until it ends or is lifted. A ban ends the membership and keeps
 * them from coming back; their sockets leave the room on every process. The membership comes back with the end of
 * the ban. For moderators, towards lower ranks: throws `forbidden`; `not-found` for who does not exist.
 */
export async function sanction(
  context: ChatContext,
  tools: ChatTools,
  input: Target & NewSanction,
): Promise<Sanction> {
  return context.transaction(async (tx) => {
    const room = await moderatedRoom(tx, input.roomId);
    const userId = input.userId.toLowerCase();
    await refuseOutranked(tx, room, userId);
    if (!(await knownPeople(tx.db, [userId])).has(userId)) throw notFound('user');

    const at = new Date();
    const until = input.expiresIn ? new Date(at.getTime() + input.expiresIn * 1000) : null;
    const bans = input.kind === 'ban';
    const tookOut = bans && (await removeMember(tx.db, room.id, userId, 'banned'));
    if (bans) {
      await ensureOwner(tx.db, room.id);
      await deleteInvitation(tx.db, { roomId: room.id, userId });
    }
    await putSanction(tx.db, {
      room_id: room.id,
      user_id: userId,
      kind: input.kind,
      until,
      reason: input.reason ?? '',
      took_out: tookOut,
      created_by: tx.caller.userId,
      created_at: at,
    });
    await noteAudit(tx, room.id, bans ? 'banned' : 'muted', {
      targetId: userId,
      reason: input.reason ?? '',
      details: { until: until?.toISOString() ?? null },
    });
    if (bans) tx.afterCommit(() => tools.live.leave(room.id, userId, 'banned', until));
    return toSanction((await findSanction(tx.db, room.id, userId, input.kind))!);
  });
}

/** Lifts a mute or ban; without one nothing changes. For moderators. */
export async function liftSanction(context: ChatContext, input: Target): Promise<void> {
  await context.transaction(async (tx) => {
    const room = await moderatedRoom(tx, input.roomId);
    const userId = input.userId.toLowerCase();
    if (userId === tx.caller.userId) throw new Problem('forbidden', 'You can not do this to yourself.');
    const lifted = await deleteSanction(tx.db, room.id, userId, input.kind);
    if (!lifted) return;
    if (input.kind === 'ban') await takeBack(tx, room.id, userId, lifted.took_out);
    await noteAudit(tx, room.id, input.kind === 'ban' ? 'unbanned' : 'unmuted', { targetId: userId });
  });
}

/** Who is muted or banned now, newest first. For moderators. */
export async function listSanctions(
  context: ChatContext,
  input: { roomId: string; limit: number; cursor?: string | undefined },
): Promise<Page<Sanction>> {
  const after = checkedKey(decodeCursor<[string, string]>(input.cursor, ['string', 'string']));
  const room = await moderatedRoom(context, input.roomId);
  const rows = await listRows(context.db, room.id, input.limit, after);
  return toPage(rows, input.limit, (row) => [row.created_at.toISOString(), row.user_id], toSanction);
}

/** Ends what has expired: who was banned for a time is back in the room. A job; any number of processes may run it. */
export async function endExpiredSanctions(context: ChatContext): Promise<void> {
  for (let ended = EXPIRED_AT_ONCE; ended === EXPIRED_AT_ONCE; ) {
    ended = await context.transaction(async (tx) => {
      const expired = await takeExpired(tx.db, EXPIRED_AT_ONCE);
      for (const { room_id, user_id, kind, took_out } of expired)
        if (kind === 'ban') await takeBack(tx, room_id, user_id, took_out);
      return expired.length;
    });
  }
}

/** What every process has seen by now. A job. */
export const forgetDepartures = (context: ChatContext): Promise<void> =>
  forgetOldDepartures(context.db, DEPARTURES_KEPT_SECONDS);

/** A member again: of a group who was one, of a course's room who is in the course now. */
async function takeBack(tx: ChatContext, roomId: string, userId: string, tookOut: boolean): Promise<void> {
  const room = await findRoom(tx.db, roomId, userId);
  if (!room) return;
  const ofGroup = tookOut ? 'member' : undefined;
  const role = room.course_id === null ? ofGroup : await roleInCourse(tx.db, room.course_id, userId);
  if (role) await addMembers(tx.db, roomId, [{ userId, role }], new Date());
}

const toSanction = (row: SanctionRow): Sanction => ({
  user: { id: row.user_id, displayName: row.name ?? '' },
  kind: row.kind,
  until: row.until?.toISOString() ?? null,
  reason: row.reason,
  by: { id: row.created_by, displayName: row.by_name ?? '' },
  createdAt: row.created_at.toISOString(),
});
