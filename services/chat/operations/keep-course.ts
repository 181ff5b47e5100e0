import type { RoomSettings } from '../../../shared/contracts/chat.ts';
import type { EventData } from '../../../shared/contracts/events.ts';
import { newId } from '../../../shared/ids.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import {
  findCourseRoom,
  keepEnrolment as keepEnrolmentFacts,
  keepCourse as keepFacts,
  lockCourse,
  syncCourseMembers,
  updateCourseRoom,
} from '../store/courses.ts';
import { addMembers, isMember, removeMember } from '../store/members.ts';
import { nameUnknownPerson } from '../store/people.ts';
import { findRoom, insertRoom } from '../store/rooms.ts';
import { bannedAmong } from '../store/sanctions.ts';
import { toSettings } from './to-room.ts';

/**
 * Takes in what an event says about a course. From its first publication on a course has a room whose name,
 * members and archived state follow the newest facts, in whatever order they arrive. Returns who is out, and what
 * the room is like now, if there is one.
 */
export async function keepCourse(
  tx: ChatContext,
  data: EventData<'course.updated'>,
  event: { at: Date; published: boolean },
): Promise<{ left: string[]; room: RoomSettings | undefined }> {
  await lockCourse(tx.db, data.courseId);
  await nameUnknownPerson(tx.db, data.teacherId, data.teacherName);
  const { courseId, title, teacherId, status } = data;
  const published = event.published || status === 'published';
  const course = await keepFacts(tx.db, { courseId, title, teacherId, status, published, at: event.at });
  if (!course.published) return { left: [], room: undefined };

  await insertRoom(tx.db, {
    id: newId(),
    kind: 'course',
    name: course.title,
    courseId,
    pairKey: null,
    at: new Date(),
  });
  const roomId = await updateCourseRoom(tx.db, courseId, {
    name: course.title,
    archived: course.status === 'archived',
  });
  const left = await syncCourseMembers(tx.db, courseId, new Date());
  const room = await findRoom(tx.db, roomId, teacherId);
  return { left, room: room && toSettings(room) };
}

/** Takes in an enrolment or its end. Before the course's publication it is only noted; the room comes later. */
export async function keepEnrolment(
  tx: ChatContext,
  data: EventData<'enrolment.created'>,
  event: { at: Date; active: boolean },
): Promise<void> {
  const { courseId, userId } = data;
  await lockCourse(tx.db, courseId);
  await nameUnknownPerson(tx.db, userId, data.displayName);
  const active = await keepEnrolmentFacts(tx.db, { courseId, userId, active: event.active, at: event.at });
  const room = await findCourseRoom(tx.db, courseId);
  if (!room || room.teacherId === userId) return;
  if (active) {
    // Who is banned comes in when the ban is over.
    if ((await bannedAmong(tx.db, room.id, [userId])).size > 0) return;
    await addMembers(tx.db, room.id, [{ userId, role: 'member' }], new Date());
  } else await removeMember(tx.db, room.id, userId, 'unenrolled');
}

/** Takes the sockets of somebody who is no longer a member out of the course's room. */
export async function evictIfOut(
  context: ChatContext,
  tools: ChatTools,
  input: { courseId: string; userId: string },
): Promise<void> {
  const room = await findCourseRoom(context.db, input.courseId);
  if (room && !(await isMember(context.db, room.id, input.userId)))
    tools.live.leave(room.id, input.userId, 'unenrolled');
}
