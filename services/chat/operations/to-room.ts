import type { Room, RoomSettings } from '../../../shared/contracts/chat.ts';
import type { RoomRow } from '../store/rooms.ts';

/** The room as the contract shows it. Who only looks in has nothing unread. */
export function toRoom(row: RoomRow): Room {
  // What retention has removed nobody can read any more.
  const readSeq = Math.max(row.my_read_seq ?? row.last_seq, row.first_seq - 1);
  return {
    id: row.id,
    kind: row.kind,
    name: row.kind === 'direct' ? (row.other_name ?? '') : row.name,
    courseId: row.course_id,
    lastSeq: row.last_seq,
    lastChange: row.last_change,
    readSeq,
    unread: row.last_seq - readSeq,
    archived: row.archived,
    createdAt: row.created_at.toISOString(),
    activeAt: row.active_at.toISOString(),
    role: row.my_role,
    locked: row.locked,
    slowModeSeconds: row.slow_mode_seconds,
    receipts: row.receipts,
    retentionDays: row.retention_days,
    firstSeq: row.first_seq,
  };
}

/** What of a room is the same for everybody. */
export const toSettings = (row: RoomRow): RoomSettings => ({
  id: row.id,
  name: row.name,
  archived: row.archived,
  locked: row.locked,
  slowModeSeconds: row.slow_mode_seconds,
  receipts: row.receipts,
  retentionDays: row.retention_days,
  firstSeq: row.first_seq,
});
