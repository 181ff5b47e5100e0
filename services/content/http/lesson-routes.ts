import { onlyRoles, signedIn } from '../../../shared/auth/access.ts';
import { PageQuery, page } from '../../../shared/contracts/common.ts';
import {
  CourseParams,
  CreateLesson,
  Lesson,
  LessonParams,
  UpdateLesson,
} from '../../../shared/contracts/content.ts';
import { requireMatch } from '../../../shared/http/etag.ts';
import { type Route, reply, routeFor } from '../../../shared/http/route.ts';
import { findLessons, readLesson } from '../operations/read-lessons.ts';
import { addLesson, changeLesson, removeLesson } from '../operations/write-lessons.ts';
import type { ContentTables } from '../store/tables.ts';

const route = routeFor<ContentTables>();
const lesson = { description: 'The lesson', schema: Lesson };
const managers = () => onlyRoles(['teacher', 'admin'], { otherTeacher: 'forbidden' });
const readers = () => signedIn({ learnerNotEnrolled: 'forbidden', otherTeacher: 'forbidden' });
const checkMatch = (request: Request) => (current: Lesson) => requireMatch(request, Lesson.parse(current));

export const lessonRoutes = (): Route<ContentTables>[] => [
  route(
    {
      method: 'post',
      path: '/courses/{courseId}/lessons',
      summary: 'Add a lesson',
      access: managers(),
      params: CourseParams,
      body: CreateLesson,
      replies: { 201: lesson },
      idempotent: true,
    },
    async (context, { params, body }) => reply(201, await addLesson(context, params.courseId, body)),
  ),
  route(
    {
      method: 'get',
      path: '/courses/{courseId}/lessons',
      summary: 'The lessons of a course',
      access: readers(),
      params: CourseParams,
      query: PageQuery,
      replies: { 200: { description: 'In order', schema: page(Lesson) } },
    },
    async (context, { params, query }) => reply(200, await findLessons(context, params.courseId, query)),
  ),
  route(
    {
      method: 'get',
      path: '/lessons/{lessonId}',
      summary: 'Read a lesson',
      access: readers(),
      params: LessonParams,
      replies: { 200: lesson },
      etag: true,
    },
    async (context, { params }) => reply(200, await readLesson(context, params.lessonId)),
  ),
  route(
    {
      method: 'patch',
      path: '/lessons/{lessonId}',
      summary: 'Change or move a lesson',
      access: managers(),
      params: LessonParams,
      body: UpdateLesson,
      replies: { 200: lesson },
    },
    async (context, { params, body, request }) =>
      reply(
        200,
        await changeLesson(context, { lessonId: params.lessonId, changes: body, check: checkMatch(request) }),
      ),
  ),
  route(
    {
      method: 'delete',
      path: '/lessons/{lessonId}',
      summary: 'Remove a lesson',
      access: managers(),
      params: LessonParams,
      replies: { 204: { description: 'Gone' } },
    },
    async (context, { params, request }) => {
      await removeLesson(context, { lessonId: params.lessonId, check: checkMatch(request) });
      return reply(204);
    },
  ),
];
