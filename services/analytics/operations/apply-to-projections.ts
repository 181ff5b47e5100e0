import type { DomainEvent, EventName } from '../../../shared/contracts/events.ts';
import type { AnalyticsContext } from '../context.ts';
import { putCourse, putCourseIfUnknown, putLessonCount } from '../store/courses.ts';
import { beginEnrolment, endEnrolment, markCompleted, putProgress } from '../store/enrolments.ts';
import { deleteClientEvents, uncountMessage } from '../store/events.ts';
import { putFile } from '../store/files.ts';
import { markDeleted, markRegistered, putName, putNameIfUnknown, putRole } from '../store/people.ts';

export type AnyDomainEvent = { [N in EventName]: DomainEvent<N> }[EventName];

/**
 * Keeps what reports need to know of people, courses, enrolments, progress and files. Events come in any order:
 * each store function weighs an event's time against that of what it knows already.
 */
export async function applyToProjections(db: AnalyticsContext['db'], event: AnyDomainEvent): Promise<void> {
  const at = new Date(event.at);
  switch (event.name) {
    case 'user.registered': {
      const { userId, displayName, role } = event.data;
      await putName(db, userId, displayName, at);
      await putRole(db, userId, role, at);
      return markRegistered(db, userId, at);
    }
    case 'user.role-changed':
      return putRole(db, event.data.userId, event.data.to, at);
    case 'user.deleted':
      await deleteClientEvents(db, event.data.userId);
      return markDeleted(db, event.data.userId, at);
    case 'profile.updated':
      return putName(db, event.data.userId, event.data.displayName, at);

    case 'course.created':
    case 'course.updated':
    case 'course.published':
    case 'course.archived':
      return putCourse(db, event.data, at);

    case 'enrolment.created': {
      const { courseId, courseTitle: title, teacherId, userId, displayName } = event.data;
      // Only a published course can be enrolled in.
      await putCourseIfUnknown(db, { courseId, title, teacherId, status: 'published' });
      await putNameIfUnknown(db, userId, displayName);
      return beginEnrolment(db, event.data, at);
    }
    case 'enrolment.cancelled':
      return endEnrolment(db, event.data, at);

    case 'lesson.completed':
      await putLessonCount(db, event.data.courseId, event.data.total, at);
      return putProgress(db, event.data, event.data, at);
    case 'course.completed':
      return markCompleted(db, event.data, at);

    case 'file.uploaded':
    case 'file.processed':
      return putFile(db, event.data);
    case 'file.rejected':
      return putFile(db, event.data, { rejected: true });
    case 'file.deleted':
      return putFile(db, event.data, { deleted: true });

    case 'message.deleted':
      return uncountMessage(db, { ...event.data, at });
  }
}
