import type { EventData } from '../../../shared/contracts/events.ts';
import type { NotificationsContext, NotificationsTools } from '../context.ts';
import { courseCompleted } from '../templates/course-completed.ts';
import { enrolment } from '../templates/enrolment.ts';
import { notify } from './notify.ts';

/** Congratulates the learner who has completed a course. */
export const notifyCompletion = (
  tx: NotificationsContext,
  tools: NotificationsTools,
  data: EventData<'course.completed'>,
): Promise<void> => notify(tx, tools, 'course-completed', [data.userId], courseCompleted(data));

/** Tells the teacher who has enrolled. */
export const notifyEnrolment = (
  tx: NotificationsContext,
  tools: NotificationsTools,
  data: EventData<'enrolment.created'>,
): Promise<void> =>
  notify(tx, tools, 'enrolment', data.userId === data.teacherId ? [] : [data.teacherId], enrolment(data));
