import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { EventData } from '../../../shared/contracts/events.ts';
import { newId } from '../../../shared/ids.ts';
import type { TestUser } from '../../../shared/testing/service.ts';
import {
  activityOf,
  clientEvent,
  makeCourse,
  send,
  startAnalytics,
  type TestCourse,
  type World,
} from '../testing.ts';

let world: World;
beforeAll(async () => {
  world = await startAnalytics();
}, 60_000);
afterAll(() => world.stop());

const get = (path: string, as?: TestUser) =>
  world.call('GET', `/api/analytics/reports/${path}`, as ? { as } : {});
const overview = async (course: TestCourse) =>
  (await get(`courses/${course.id}/overview`, course.teacher)).body;
const learners = async (course: TestCourse) =>
  (await get(`courses/${course.id}/learners`, course.teacher)).body.items;

const completion = (course: TestCourse, user: TestUser, completed: number, total: number) => ({
  courseId: course.id,
  lessonId: newId(),
  userId: user.userId,
  completed,
  total,
  percent: Math.round((completed / total) * 100),
});
const message = (course: TestCourse | null, author: TestUser): EventData<'message.sent'> => ({
  messageId: newId(),
  roomId: newId(),
  roomName: 'Room',
  courseId: course?.id ?? null,
  seq: 1,
  authorId: author.userId,
  authorName: 'Lea',
  excerpt: 'Hello',
});
const file = (course: TestCourse | null, owner: TestUser): EventData<'file.uploaded'> => ({
  fileId: newId(),
  name: 'leaf.png',
  size: 1_000,
  type: 'image/png',
  sha256: '00',
  visibility: 'course',
  courseId: course?.id ?? null,
  ownerId: owner.userId,
});
const ago = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();

describe("a course's overview", () => {
  test('counts learners, progress, messages and files', async () => {
    const course = await makeCourse(world);
    expect(await overview(course)).toEqual({
      enrolled: 0,
      active7d: 0,
      completions: 0,
      averagePercent: 0,
      messages: 0,
      files: 0,
    });
    const [lea, max, tom] = [
      await course.enrol('Lea'),
      await course.enrol('Max'),
      await course.enrol('Tom', ago(9)),
    ];
    await world.emit('lesson.completed', completion(course, lea, 1, 2), { actor: lea.userId });
    await world.emit('lesson.completed', completion(course, lea, 2, 2), { actor: lea.userId });
    await world.emit('course.completed', { courseId: course.id, userId: lea.userId, courseTitle: 'Botany' });
    await world.emit('lesson.completed', completion(course, max, 1, 2), { actor: max.userId });
    const sent = [message(course, lea), message(course, max), message(course, lea)];
    for (const one of sent) await world.emit('message.sent', one, { actor: one.authorId });
    await world.emit('message.deleted', sent[2]!, { actor: course.teacher.userId });
    await world.emit('message.sent', message(null, lea), { actor: lea.userId });
    const files = [file(course, course.teacher), file(course, course.teacher), file(course, course.teacher)];
    for (const one of files) await world.emit('file.uploaded', one, { actor: course.teacher.userId });
    await world.emit('file.processed', files[0]!);
    await world.emit('file.rejected', { ...files[1]!, reason: 'broken' });
    await world.emit('file.deleted', files[2]!, { actor: course.teacher.userId });
    expect(await overview(course)).toEqual({
      enrolled: 3,
      active7d: 2,
      completions: 1,
      averagePercent: 50,
      messages: 2,
      files: 1,
    });
    await world.emit('enrolment.cancelled', course.enrolment(tom), { actor: tom.userId });
    expect(await overview(course)).toMatchObject({ enrolled: 2, averagePercent: 75 });
  });

  test('comes out the same when events come twice or in the wrong order', async () => {
    const course = await makeCourse(world);
    const [lea, max] = [await world.signIn({ name: 'Lea' }), await world.signIn({ name: 'Max' })];
    const gone = file(course, course.teacher);
    await world.emit('file.deleted', gone);
    await world.emit('file.processed', gone);
    await world.emit('file.uploaded', gone);
    const sent = message(course, lea);
    await world.emit('message.deleted', sent, { actor: lea.userId });
    await world.emit('message.sent', sent, { actor: lea.userId });
    await world.emit('lesson.completed', completion(course, lea, 2, 2), { at: ago(1), actor: lea.userId });
    await world.emit('lesson.completed', completion(course, lea, 1, 2), { at: ago(2), actor: lea.userId });
    await world.emit('enrolment.cancelled', course.enrolment(max), { at: ago(1) });
    await world.emit('enrolment.created', course.enrolment(max), { at: ago(2) });
    await world.emit('enrolment.created', course.enrolment(lea), {
      at: ago(3),
      id: '01900000-0000-7000-8000-00000000aaaa',
    });
    await world.emit('enrolment.created', course.enrolment(lea), {
      at: ago(3),
      id: '01900000-0000-7000-8000-00000000aaaa',
    });
    expect(await overview(course)).toEqual({
      enrolled: 1,
      active7d: 1,
      completions: 0,
      averagePercent: 100,
      messages: 0,
      files: 0,
    });
    await world.emit('enrolment.created', course.enrolment(max), { at: ago(0.5) });
    expect((await overview(course)).enrolled).toBe(2);
  });

  test('knows a course from an enrolment that comes before the course', async () => {
    const teacher = await world.signIn({ role: 'teacher' });
    const learner = await world.signIn();
    const courseId = newId();
    await world.emit('enrolment.created', {
      courseId,
      userId: learner.userId,
      displayName: 'Lea',
      courseTitle: 'Early',
      teacherId: teacher.userId,
    });
    expect((await get(`courses/${courseId}/overview`, teacher)).body.enrolled).toBe(1);
  });
});

describe("a course's learners", () => {
  test('are listed with their newest names, progress and activity, page by page', async () => {
    const course = await makeCourse(world);
    const names = ['Ann', 'Ben', 'Cid', 'Dan', 'Eva'];
    const users: TestUser[] = [];
    for (const name of names) users.push(await course.enrol(name));
    const [ann, ben] = [users[0]!, users[1]!];
    await world.emit('profile.updated', {
      userId: ann.userId,
      displayName: 'Anna',
      avatar: null,
      locale: 'en',
    });
    await world.emit('lesson.completed', completion(course, ann, 1, 3), { actor: ann.userId });
    await world.emit('message.sent', message(course, ann), { actor: ann.userId });
    await send(world, ann, [clientEvent({ courseId: course.id })]);
    const rows = await learners(course);
    expect(rows.map((row: { displayName: string }) => row.displayName)).toEqual([
      'Anna',
      'Ben',
      'Cid',
      'Dan',
      'Eva',
    ]);
    expect(rows[0]).toMatchObject({
      userId: ann.userId,
      completed: 1,
      total: 3,
      percent: 33,
      messages: 1,
      events: 4,
    });
    expect(rows[1]).toMatchObject({
      userId: ben.userId,
      completed: 0,
      total: 3,
      percent: 0,
      messages: 0,
      events: 1,
    });

    const seen: string[] = [];
    for (let cursor = ''; ; ) {
      const query = `limit=2${cursor ? `&cursor=${cursor}` : ''}`;
      const { body } = await get(`courses/${course.id}/learners?${query}`, course.teacher);
      seen.push(...body.items.map((row: { displayName: string }) => row.displayName));
      if (body.nextCursor === null) break;
      cursor = body.nextCursor;
    }
    expect(seen).toEqual(['Anna', 'Ben', 'Cid', 'Dan', 'Eva']);
  });

  test('refuse cursors that they did not give', async () => {
    const course = await makeCourse(world);
    for (const key of [['x', 'y'], [1, 'no-id'], [-1, newId()], [1e300, newId()], [null], 'x']) {
      const cursor = Buffer.from(JSON.stringify(key)).toString('base64url');
      const { body } = await get(`courses/${course.id}/learners?cursor=${cursor}`, course.teacher);
      expect(body.code).toBe('validation-failed');
    }
  });
});

describe("a course's activity", () => {
  test('has every bucket, in UTC, with different people counted once in each', async () => {
    const course = await makeCourse(world);
    const [lea, max] = [await course.enrol('Lea', ago(20)), await course.enrol('Max', ago(20))];
    const base = await activityOf(world, course);
    const day = `${ago(3).slice(0, 10)}T`;
    await send(world, lea, [
      clientEvent({ courseId: course.id, at: `${day}08:15:00Z` }),
      clientEvent({ courseId: course.id, at: `${day}08:45:00Z` }),
      clientEvent({ courseId: course.id, at: `${day}10:00:00Z` }),
    ]);
    await send(world, max, [clientEvent({ courseId: course.id, at: `${day}08:59:59.999Z` })]);
    expect((await activityOf(world, course)).events).toBe(base.events + 4);

    const activity = async (query: string) =>
      (await get(`courses/${course.id}/activity?${query}`, course.teacher)).body.items;
    expect(await activity(`bucket=hour&from=${day}07:30:00Z&to=${day}11:00:00Z`)).toEqual([
      { at: `${day}07:00:00.000Z`, events: 0, users: 0 },
      { at: `${day}08:00:00.000Z`, events: 3, users: 2 },
      { at: `${day}09:00:00.000Z`, events: 0, users: 0 },
      { at: `${day}10:00:00.000Z`, events: 1, users: 1 },
    ]);
    const days = await activity('');
    expect(days).toHaveLength(31);
    expect(days.find((item: { at: string }) => item.at === `${day}00:00:00.000Z`)).toMatchObject({
      events: 4,
      users: 2,
    });
    const weeks = await activity('bucket=week');
    expect(weeks.every((item: { at: string }) => new Date(item.at).getUTCDay() === 1)).toBe(true);
    expect(weeks.some((item: { events: number; users: number }) => item.events >= 4 && item.users >= 2)).toBe(
      true,
    );
  });

  test('refuses spans and moments that make no sense', async () => {
    const course = await makeCourse(world);
    for (const query of [
      'from=yesterday',
      'from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z',
      'from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z',
      'from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z',
      'from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z&bucket=hour',
      'from=0000-01-01T00:00:00Z&to=0000-01-02T00:00:00Z',
      'from=9999-12-31T00:00:00Z&to=9999-12-31T23:59:59Z',
      'from=3500-01-01T00:00:00Z',
      'bucket=year',
      'bucket=day&bucket=hour',
      'form=2026-01-01T00:00:00Z',
    ]) {
      const { status, body } = await get(`courses/${course.id}/activity?${query}`, course.teacher);
      expect([query, status, body.code]).toEqual([query, 400, 'validation-failed']);
    }
  });
});

describe('reports of a course', () => {
  test('are for its teacher and administrators', async () => {
    const course = await makeCourse(world);
    const learner = await course.enrol('Lea');
    const admin = await world.signIn({ role: 'admin' });
    const other = await world.signIn({ role: 'teacher' });
    const stranger = await world.signIn();
    for (const report of ['overview', 'activity', 'learners']) {
      const path = `courses/${course.id}/${report}`;
      expect((await get(path, course.teacher)).status).toBe(200);
      expect((await get(path, admin)).status).toBe(200);
      expect((await get(path, learner)).body.code).toBe('forbidden');
      expect((await get(path, other)).body.code).toBe('not-found');
      expect((await get(path, stranger)).body.code).toBe('not-found');
      expect((await get(path)).body.code).toBe('unauthenticated');
      expect((await get(`courses/${newId()}/${report}`, admin)).body.code).toBe('not-found');
      expect((await get(`courses/x/${report}`, admin)).body.code).toBe('validation-failed');
    }
  });
});

describe('my report', () => {
  test('has my totals, my courses and my last 30 days', async () => {
    const course = await makeCourse(world, 'Birds');
    const lea = await course.enrol('Lea');
    await world.emit('lesson.completed', completion(course, lea, 1, 1), { actor: lea.userId });
    await world.emit(
      'course.completed',
      { courseId: course.id, userId: lea.userId, courseTitle: 'Birds' },
      { actor: lea.userId },
    );
    await world.emit('message.sent', message(null, lea), { actor: lea.userId });
    await send(world, lea, [clientEvent(), clientEvent({ at: ago(40) })]);
    const { body } = await get('me', lea);
    expect(body).toMatchObject({
      userId: lea.userId,
      events: 5,
      messages: 1,
      lessonsCompleted: 1,
      coursesCompleted: 1,
    });
    expect(body.courses).toMatchObject([
      { courseId: course.id, title: 'Birds', completed: 1, total: 1, percent: 100, events: 3 },
    ]);
    expect(body.activity).toHaveLength(30);
    expect(body.activity.at(-1)).toEqual({ at: `${ago(0).slice(0, 10)}T00:00:00.000Z`, events: 5 });
  });

  test('is empty for somebody who has done nothing', async () => {
    const { body } = await get('me', await world.signIn());
    expect(body).toMatchObject({ events: 0, messages: 0, courses: [], lastActiveAt: null });
  });
});

describe('the report of the platform', () => {
  test('is for administrators and counts everything', async () => {
    const admin = await world.signIn({ role: 'admin' });
    for (const role of ['learner', 'teacher'] as const) {
      expect((await get('platform', await world.signIn({ role }))).body.code).toBe('forbidden');
    }
    const before = (await get('platform', admin)).body;
    const course = await makeCourse(world);
    const lea = await course.enrol('Lea');
    const registered = {
      userId: lea.userId,
      email: 'lea@example.com',
      displayName: 'Lea',
      role: 'learner' as const,
    };
    await world.emit('user.role-changed', { userId: lea.userId, from: 'learner', to: 'teacher' });
    await world.emit('user.registered', registered, { at: ago(1) });
    await world.emit('file.uploaded', file(null, lea));
    await world.emit('message.sent', message(course, lea), { actor: lea.userId });
    await send(world, lea, [clientEvent(), clientEvent()]);
    const after = (await get('platform', admin)).body;
    const grown = Object.fromEntries(
      Object.entries(after).map(([key, value]) => [key, (value as number) - before[key]]),
    );
    expect(grown).toEqual({
      users: 1,
      learners: 0,
      teachers: 1,
      administrators: 0,
      courses: 1,
      coursesPublished: 1,
      enrolments: 1,
      active7d: 2,
      lessonsCompleted: 0,
      completions: 0,
      messages: 1,
      files: 1,
      bytes: 1_000,
      events: 8,
      clientEvents: 2,
    });
    await world.emit('user.deleted', { userId: lea.userId });
    const last = (await get('platform', admin)).body;
    expect([last.users, last.enrolments]).toEqual([before.users, before.enrolments]);
  });
});
