import { anyoneOrCaller, onlyRoles } from '../../../shared/auth/access.ts';
import { page } from '../../../shared/contracts/common.ts';
import {
  Course,
  CourseListQuery,
  CourseParams,
  CreateCourse,
  UpdateCourse,
} from '../../../shared/contracts/content.ts';
import { requireMatch } from '../../../shared/http/etag.ts';
import { type Route, reply, routeFor } from '../../../shared/http/route.ts';
import { archiveCourse, changeCourse, publishCourse } from '../operations/change-course.ts';
import { createCourse } from '../operations/create-course.ts';
import { findCourses, readCourse } from '../operations/read-courses.ts';
import type { ContentTables } from '../store/tables.ts';

const route = routeFor<ContentTables>();
const course = { description: 'The course', schema: Course };
const managers = () => onlyRoles(['teacher', 'admin'], { otherTeacher: 'forbidden' });

export const courseRoutes = (): Route<ContentTables>[] => [
  route(
    {
      method: 'post',
      path: '/courses',
      summary: 'Make a course; it starts as a draft',
      access: onlyRoles(['teacher', 'admin']),
      body: CreateCourse,
      replies: { 201: course },
      idempotent: true,
    },
    async (context, { body }) => reply(201, await createCourse(context, body)),
  ),
  route(
    {
      method: 'get',
      path: '/courses',
      summary: 'Find courses',
      description:
        'Published courses, and those of the caller. Drafts are seen by their teacher and administrators.',
      access: anyoneOrCaller(),
      query: CourseListQuery,
      replies: { 200: { description: 'Newest first', schema: page(Course) } },
    },
    async (context, { query }) => reply(200, await findCourses(context, query)),
  ),
  route(
    {
      method: 'get',
      path: '/courses/{courseId}',
      summary: 'Read a course',
      access: anyoneOrCaller(),
      params: CourseParams,
      replies: { 200: course },
      etag: true,
    },
    async (context, { params }) => reply(200, await readCourse(context, params.courseId)),
  ),
  route(
    {
      method: 'patch',
      path: '/courses/{courseId}',
      summary: 'Change what a course says of itself',
      access: managers(),
      params: CourseParams,
      body: UpdateCourse,
      replies: { 200: course },
    },
    async (context, { params, body, request }) => {
      const check = (current: Course) => requireMatch(request, Course.parse(current));
      return reply(200, await changeCourse(context, { courseId: params.courseId, changes: body, check }));
    },
  ),
  route(
    {
      method: 'post',
      path: '/courses/{courseId}/publish',
      summary: 'Publish a course',
      access: managers(),
      params: CourseParams,
      replies: { 200: course },
    },
    async (context, { params }) => reply(200, await publishCourse(context, params.courseId)),
  ),
  route(
    {
      method: 'post',
      path: '/courses/{courseId}/archive',
      summary: 'Archive a course',
      description: 'Learners who are enrolled keep it; nobody else finds it.',
      access: managers(),
      params: CourseParams,
      replies: { 200: course },
    },
    async (context, { params }) => reply(200, await archiveCourse(context, params.courseId)),
  ),
];
