import type { Handlers } from '../../shared/events/consumer.ts';
import { type ServiceDeps, systemContext } from '../../shared/service.ts';
import type { NotificationsTools } from './context.ts';
import {
  addPerson,
  disablePerson,
  removePerson,
  renamePerson,
  verifyPerson,
} from './operations/follow-people.ts';
import { notifyFileProcessed, notifyFileRejected } from './operations/notify-file.ts';
import { notifyInvitation } from './operations/notify-invitation.ts';
import { notifyCompletion, notifyEnrolment } from './operations/notify-learning.ts';
import { notifyMention } from './operations/notify-mention.ts';
import type { NotificationsTables } from './store/tables.ts';

type Deps = ServiceDeps<NotificationsTables>;

/** Who people are and where mail reaches them. */
export const peopleHandlers = (deps: Deps): Handlers<NotificationsTables, 'notifications.people'> => ({
  'user.registered': (event, delivery) => delivery.once((tx) => addPerson(systemContext(deps, tx), event)),
  'user.verified': (event, delivery) => delivery.once((tx) => verifyPerson(systemContext(deps, tx), event)),
  'profile.updated': (event, delivery) => delivery.once((tx) => renamePerson(systemContext(deps, tx), event)),
  'user.disabled': (event, delivery) => delivery.once((tx) => disablePerson(systemContext(deps, tx), event)),
  'user.deleted': (event, delivery) => delivery.once((tx) => removePerson(systemContext(deps, tx), event)),
});

/** What people are told about. */
export const triggerHandlers = (
  deps: Deps,
  tools: NotificationsTools,
): Handlers<NotificationsTables, 'notifications.triggers'> => ({
  'message.mentioned': ({ data }, delivery) =>
    delivery.once((tx) => notifyMention(systemContext(deps, tx), tools, data)),
  'room.invited': ({ data }, delivery) =>
    delivery.once((tx) => notifyInvitation(systemContext(deps, tx), tools, data)),
  'course.completed': ({ data }, delivery) =>
    delivery.once((tx) => notifyCompletion(systemContext(deps, tx), tools, data)),
  'enrolment.created': ({ data }, delivery) =>
    delivery.once((tx) => notifyEnrolment(systemContext(deps, tx), tools, data)),
  'file.processed': ({ data }, delivery) =>
    delivery.once((tx) => notifyFileProcessed(systemContext(deps, tx), tools, data)),
  'file.rejected': ({ data }, delivery) =>
    delivery.once((tx) => notifyFileRejected(systemContext(deps, tx), tools, data)),
});
