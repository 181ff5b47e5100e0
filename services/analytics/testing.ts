import type { EventData } from '../../shared/contracts/events.ts';
import { newId } from '../../shared/ids.ts';
import { startTestService, type TestService, type TestUser } from '../../shared/testing/service.ts';
import { createAnalytics } from './service.ts';
import type { AnalyticsTables } from './store/tables.ts';

export type World = TestService<AnalyticsTables>;

export const startAnalytics = (): Promise<World> => startTestService(createAnalytics);

/** What the tests of analytics share: a course with a teacher, told of by events as content would. */
export interface TestCourse {
  id: string;
  teacher: TestUser;
  facts: EventData<'course.created'>;
  /** A learner, enrolled (at `at`). */
  enrol(name: string, at?: string): Promise<TestUser>;
  enrolment(user: TestUser, name?: string): EventData<'enrolment.created'>;
}

export async function makeCourse(world: World, title = 'Botany'): Promise<TestCourse> {
  const teacher = await world.signIn({ role: 'teacher', name: 'Ada' });
  const facts: EventData<'course.created'> = {
    courseId: newId(),
    title,
    slug: 'botany',
    status: 'published',
    teacherId: teacher.userId,
    teacherName: 'Ada',
  };
  await world.emit('course.published', facts, { actor: teacher.userId });
  const enrolment = (user: TestUser, name = 'Lea'): EventData<'enrolment.created'> => ({
    courseId: facts.courseId,
    userId: user.userId,
    displayName: name,
    courseTitle: title,
    teacherId: teacher.userId,
  });
  return {
    id: facts.courseId,
    teacher,
    facts,
    enrolment,
    async enrol(name, at) {
      const learner = await world.signIn({ name });
      await world.emit('enrolment.created', enrolment(learner, name), {
        actor: learner.userId,
        ...(at ? { at } : {}),
      });
      return learner;
    },
  };
}

/** A client event of a moment ago. */
export const clientEvent = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  id: newId(),
  name: 'lesson.opened',
  at: new Date().toISOString(),
  ...more,
});

export const send = (world: World, as: TestUser, events: unknown) =>
  world.call('POST', '/api/analytics/events/batch', { as, body: { events } });

/** The figures of the course's activity report, added up. */
export async function activityOf(
  world: World,
  course: TestCourse,
): Promise<{ events: number; users: number }> {
  const { body } = await world.call('GET', `/api/analytics/reports/courses/${course.id}/activity`, {
    as: course.teacher,
  });
  const items = body.items as { events: number; users: number }[];
  return {
    events: items.reduce((sum, item) => sum + item.events, 0),
    users: Math.max(...items.map((item) => item.users)),
  };
}
