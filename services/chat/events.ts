import type { Handlers } from '../../shared/events/consumer.ts';
import { type ServiceDeps, systemContext } from '../../shared/service.ts';
import type { ChatTools } from './context.ts';
import type { Hub } from './live/hub.ts';
import { evictIfOut, keepCourse, keepEnrolment } from './operations/keep-course.ts';
import { keepFile } from './operations/keep-file.ts';
import { keepProfile } from './operations/keep-profile.ts';
import { namePerson } from './store/people.ts';
import type { ChatTables } from './store/tables.ts';

/** What chat learns about people, courses, enrolments and files. */
export function projectionHandlers(
  deps: ServiceDeps<ChatTables>,
  tools: ChatTools,
): Handlers<ChatTables, 'chat.projections'> {
  type All = Handlers<ChatTables, 'chat.projections'>;
  type OfCourse = All['course.published'] & All['course.updated'] & All['course.archived'];
  type OfFile = All['file.uploaded'] & All['file.processed'] & All['file.rejected'] & All['file.deleted'];

  const person: All['user.registered'] = (event, delivery) =>
    delivery.once((tx) => namePerson(tx, event.data.userId, event.data.displayName, new Date(event.at)));

  const profile: All['profile.updated'] = async (event, delivery) => {
    const presence = await delivery.once((tx) =>
      keepProfile(systemContext(deps, tx), event.data, new Date(event.at)),
    );
    if (presence) tools.live.presence(event.data.userId, presence.roomIds, presence.visible);
  };

  const course: OfCourse = async (event, delivery) => {
    const kept = await delivery.once((tx) =>
      keepCourse(systemContext(deps, tx), event.data, {
        at: new Date(event.at),
        published: event.name === 'course.published',
      }),
    );
    if (!kept?.room) return;
    tools.live.roomUpdated(kept.room);
    for (const userId of kept.left) tools.live.leave(kept.room.id, userId, 'unenrolled');
  };

  const enrolment =
    (active: boolean): All['enrolment.created'] & All['enrolment.cancelled'] =>
    async (event, delivery) => {
      await delivery.once((tx) =>
        keepEnrolment(systemContext(deps, tx), event.data, { at: new Date(event.at), active }),
      );
      // Also when the effect was had before: the process may have died before it took the sockets out.
      if (!active) await evictIfOut(systemContext(deps), tools, event.data);
    };

  const file: OfFile = async (event, delivery) => {
    const changes = await delivery.once((tx) =>
      keepFile(systemContext(deps, tx), {
        file_id: event.data.fileId,
        name: event.data.name,
        type: event.data.type,
        size: event.data.size,
        visibility: event.data.visibility,
        course_id: event.data.courseId,
        owner_id: event.data.ownerId,
        usable: event.name === 'file.uploaded' || event.name === 'file.processed',
        changed_at: new Date(event.at),
      }),
    );
    for (const change of changes ?? []) tools.live.changed(change);
  };

  return {
    'user.registered': person,
    'profile.updated': profile,
    'course.published': course,
    'course.updated': course,
    'course.archived': course,
    'enrolment.created': enrolment(true),
    'enrolment.cancelled': enrolment(false),
    'file.uploaded': file,
    'file.processed': file,
    'file.rejected': file,
    'file.deleted': file,
  };
}

/**
 * What is shown to connected clients. Each is said to every process through Socket.IO; said twice it does no
 * harm to sessions, and the inbox keeps a notification from being shown twice.
 */
export function liveHandlers(hub: Hub): Handlers<ChatTables, 'chat.live'> {
  return {
    'notification.created': async ({ data }, delivery) => {
      if (!data.live || (await delivery.handled())) return;
      const { notificationId: id, userId, kind, title, body, link, createdAt } = data;
      hub.notify(userId, { id, kind, title, body, link, createdAt, readAt: null });
      await delivery.once(async () => {});
    },
    'session.revoked': async ({ data }) => hub.endSession(data.sessionId, 'session-revoked'),
    'user.role-changed': async ({ data }) => hub.endUser(data.userId, 'role-changed'),
    'user.disabled': async ({ data }) => {
      if (data.disabled) hub.endUser(data.userId, 'account-disabled');
    },
  };
}
