import { z } from 'zod';
import { type Access, onlyRoles, signedIn } from '../../shared/auth/access.ts';
import {
  ActivityQuery,
  BatchReceipt,
  CourseActivity,
  CourseOverview,
  EventBatch,
  LearnerRow,
  MyReport,
  PlatformReport,
} from '../../shared/contracts/analytics.ts';
import { Id, PageQuery, page } from '../../shared/contracts/common.ts';
import { type Route, reply, routeFor } from '../../shared/http/route.ts';
import { recordBatch } from './operations/record-batch.ts';
import { reportCourseActivity } from './operations/report-course-activity.ts';
import { reportCourseLearners } from './operations/report-course-learners.ts';
import { reportCourseOverview } from './operations/report-course-overview.ts';
import { reportMe } from './operations/report-me.ts';
import { reportPlatform } from './operations/report-platform.ts';
import type { AnalyticsTables } from './store/tables.ts';

const route = routeFor<AnalyticsTables>();
const CourseParams = z.strictObject({ courseId: Id });

/** The course's teacher and administrators; its learners know of it, others need not. */
const courseReport = (): Access =>
  signedIn({ learnerNotEnrolled: 'not-found', learnerEnrolled: 'forbidden', otherTeacher: 'not-found' });

export const analyticsRoutes: Route<AnalyticsTables>[] = [
  route(
    {
      method: 'post',
      path: '/events/batch',
      summary: 'Report what happened in a client',
      description:
        'Up to 500 events. Each is judged on its own; one whose id this user has sent before counts as a duplicate, ' +
        'so the same batch may be sent again at any time. At most 1 MiB.',
      access: signedIn(),
      body: EventBatch,
      idempotent: true,
      replies: { 202: { description: 'Recorded, apart from those rejected', schema: BatchReceipt } },
    },
    async (context, { body }) => reply(202, await recordBatch(context, body)),
  ),
  route(
    {
      method: 'get',
      path: '/reports/me',
      summary: 'What I have done',
      access: signedIn(),
      replies: { 200: { description: 'Totals, courses, and the last 30 days', schema: MyReport } },
    },
    async (context) => reply(200, await reportMe(context)),
  ),
  route(
    {
      method: 'get',
      path: '/reports/courses/{courseId}/overview',
      summary: 'A course in figures',
      access: courseReport(),
      params: CourseParams,
      replies: { 200: { description: 'Counts about those enrolled now', schema: CourseOverview } },
    },
    async (context, { params }) => reply(200, await reportCourseOverview(context, params.courseId)),
  ),
  route(
    {
      method: 'get',
      path: '/reports/courses/{courseId}/activity',
      summary: "A course's activity by hour, day or week",
      description:
        "Counts events of the course's teacher and learners. Buckets are whole, in UTC, empty ones included.",
      access: courseReport(),
      params: CourseParams,
      query: ActivityQuery,
      replies: { 200: { description: 'Oldest first', schema: CourseActivity } },
    },
    async (context, { params, query }) =>
      reply(200, await reportCourseActivity(context, params.courseId, query)),
  ),
  route(
    {
      method: 'get',
      path: '/reports/courses/{courseId}/learners',
      summary: 'One row a learner',
      access: courseReport(),
      params: CourseParams,
      query: PageQuery,
      replies: { 200: { description: 'In the order of enrolment', schema: page(LearnerRow) } },
    },
    async (context, { params, query }) =>
      reply(200, await reportCourseLearners(context, params.courseId, query)),
  ),
  route(
    {
      method: 'get',
      path: '/reports/platform',
      summary: 'The installation in figures',
      access: onlyRoles(['admin']),
      replies: { 200: { description: 'Counts', schema: PlatformReport } },
    },
    async (context) => reply(200, await reportPlatform(context)),
  ),
];
