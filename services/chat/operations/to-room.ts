import type { Room } from '../../../shared/contracts/chat.ts';
import type { RoomRow } from '../store/rooms.ts';

/** The room as the contract shows it. Who only looks in has nothing unread. */
export function toRoom(row: RoomRow): Room {
  const readSeq = row.my_read_seq ?? row.last_seq;
  return {
    id: row.id,
    kind: row.kind,
    name: row.kind === 'direct' ? (row.other_name ?? '') : row.name,
    courseId: row.course_id,
    lastSeq: row.last_seq,
    readSeq,
    unread: row.last_seq - readSeq,
    archived: row.archived,
    createdAt: row.created_at.toISOString(),
  };
}
