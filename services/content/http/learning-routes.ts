import { onlyRoles, signedIn } from '../../../shared/auth/access.ts';
import { PageQuery, page } from '../../../shared/contracts/common.ts';
import {
  Completion,
  CourseParams,
  Enrolment,
  EnrolmentListItem,
  LessonParams,
  Progress,
} from '../../../shared/contracts/content.ts';
import { type Route, reply, routeFor } from '../../../shared/http/route.ts';
import { markCompleted, readProgress, unmarkCompleted } from '../operations/complete-lesson.ts';
import { cancelEnrolment, enrol, findEnrolments } from '../operations/enrol.ts';
import type { ContentTables } from '../store/tables.ts';

const route = routeFor<ContentTables>();
const completion = { description: 'The completion, and how far the learner is', schema: Completion };
/** Whoever learns: those enrolled, whatever their role. */
const learners = () =>
  signedIn({
    learnerNotEnrolled: 'forbidden',
    otherTeacher: 'forbidden',
    courseTeacher: 'forbidden',
    administrator: 'forbidden',
  });

export const learningRoutes = (): Route<ContentTables>[] => [
  route(
    {
      method: 'post',
      path: '/courses/{courseId}/enrolments',
      summary: 'Enrol in a course',
      access: signedIn({ courseTeacher: 'forbidden' }),
      params: CourseParams,
      replies: {
        201: { description: 'Enrolled', schema: Enrolment },
        200: { description: 'Enrolled before', schema: Enrolment },
      },
      idempotent: true,
    },
    async (context, { params }) => {
      const { enrolment, created } = await enrol(context, params.courseId);
      return reply(created ? 201 : 200, enrolment);
    },
  ),
  route(
    {
      method: 'delete',
      path: '/courses/{courseId}/enrolments/me',
      summary: 'Leave a course',
      access: signedIn({
        learnerNotEnrolled: 'not-found',
        otherTeacher: 'not-found',
        courseTeacher: 'not-found',
        administrator: 'not-found',
      }),
      params: CourseParams,
      replies: { 204: { description: 'No longer enrolled' } },
    },
    async (context, { params }) => {
      await cancelEnrolment(context, params.courseId);
      return reply(204);
    },
  ),
  route(
    {
      method: 'get',
      path: '/courses/{courseId}/enrolments',
      summary: 'Who is enrolled',
      access: onlyRoles(['teacher', 'admin'], { otherTeacher: 'forbidden' }),
      params: CourseParams,
      query: PageQuery,
      replies: { 200: { description: 'By user id', schema: page(EnrolmentListItem) } },
    },
    async (context, { params, query }) => reply(200, await findEnrolments(context, params.courseId, query)),
  ),
  route(
    {
      method: 'put',
      path: '/lessons/{lessonId}/completion',
      summary: 'Complete a lesson',
      access: learners(),
      params: LessonParams,
      replies: { 200: completion },
    },
    async (context, { params }) => reply(200, await markCompleted(context, params.lessonId)),
  ),
  route(
    {
      method: 'delete',
      path: '/lessons/{lessonId}/completion',
      summary: 'Take a completion back',
      access: learners(),
      params: LessonParams,
      replies: { 200: completion },
    },
    async (context, { params }) => reply(200, await unmarkCompleted(context, params.lessonId)),
  ),
  route(
    {
      method: 'get',
      path: '/courses/{courseId}/progress',
      summary: "The caller's progress in a course",
      access: signedIn({ learnerNotEnrolled: 'forbidden', otherTeacher: 'forbidden' }),
      params: CourseParams,
      replies: { 200: { description: 'Progress', schema: Progress } },
    },
    async (context, { params }) => reply(200, await readProgress(context, params.courseId)),
  ),
];
