import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { TestUser } from '../../../shared/testing/service.ts';
import { type ContentWorld, startContent } from '../testing.ts';

let world: ContentWorld;
let teacher: TestUser;
let learner: TestUser;

beforeAll(async () => {
  world = await startContent();
  teacher = await world.signIn({ role: 'teacher', name: 'Ada' });
  learner = await world.signIn({ name: 'Lee' });
});
afterAll(() => world.stop());

const call = (method: string, path: string, as?: TestUser, body?: unknown) =>
  world.call(method, `/api/content/${path}`, {
    ...(as ? { as } : {}),
    ...(body === undefined ? {} : { body }),
  });
const order = async (courseId: string) =>
  (await call('GET', `courses/${courseId}/lessons`, teacher)).body.items.map(
    (item: { title: string; position: number }) => `${item.position} ${item.title}`,
  );

test('lessons keep positions from 1 without gaps when they are added, moved and removed', async () => {
  const { id, lessonIds } = await world.course(teacher, { lessons: 3 });
  const put = (title: string, position: number) =>
    call('POST', `courses/${id}/lessons`, teacher, { title, kind: 'text', position });
  expect((await put('First', 0)).body.position).toBe(1);
  expect((await put('Last', 99)).body.position).toBe(5);
  expect(await order(id)).toEqual(['1 First', '2 Lesson 1', '3 Lesson 2', '4 Lesson 3', '5 Last']);
  await call('PATCH', `lessons/${lessonIds[0]}`, teacher, { position: 4, module: 'Basics' });
  expect(await order(id)).toEqual(['1 First', '2 Lesson 2', '3 Lesson 3', '4 Lesson 1', '5 Last']);
  await call('PATCH', `lessons/${lessonIds[0]}`, teacher, { position: 1 });
  expect(await order(id)).toEqual(['1 Lesson 1', '2 First', '3 Lesson 2', '4 Lesson 3', '5 Last']);
  expect((await call('DELETE', `lessons/${lessonIds[1]}`, teacher)).status).toBe(204);
  expect(await order(id)).toEqual(['1 Lesson 1', '2 First', '3 Lesson 3', '4 Last']);
  await Promise.all(Array.from({ length: 6 }, (_, n) => put(`At once ${n}`, 2)));
  const positions = (await order(id)).map((line: string) => Number.parseInt(line, 10));
  expect(positions).toEqual(positions.map((_: number, index: number) => index + 1));
});

test('lessons are for those enrolled and the teacher', async () => {
  const { id, lessonIds } = await world.course(teacher, { lessons: 1, publish: false });
  const stranger = await world.signIn();
  expect((await call('GET', `lessons/${lessonIds[0]}`, stranger)).body.code).toBe('not-found');
  expect((await call('GET', `courses/${id}/lessons`, stranger)).body.code).toBe('not-found');
  await call('POST', `courses/${id}/publish`, teacher);
  expect((await call('GET', `lessons/${lessonIds[0]}`, stranger)).body.code).toBe('forbidden');
  expect((await call('GET', `courses/${id}/lessons`, stranger)).body.code).toBe('forbidden');
  expect((await call('GET', `lessons/${lessonIds[0]}`)).body.code).toBe('unauthenticated');
  await world.enrol(learner, id);
  expect((await call('GET', `lessons/${lessonIds[0]}`, learner)).body).toMatchObject({
    completed: false,
    body: '# 1',
  });
  expect((await call('GET', `lessons/${lessonIds[0]}`, teacher)).body.completed).toBeUndefined();
  const body = { title: 'x', kind: 'text' };
  expect((await call('POST', `courses/${id}/lessons`, learner, body)).body.code).toBe('forbidden');
  expect((await call('DELETE', `lessons/${lessonIds[0]}`, learner)).body.code).toBe('forbidden');
});

test('a lesson takes files of its course and of its teacher, and shows learners what they may have', async () => {
  const { id } = await world.course(teacher);
  await world.enrol(learner, id);
  const mine = (await world.upload(teacher, 'name=private.txt', 'private')).body.id;
  const shared = (await world.upload(teacher, `name=course.txt&courseId=${id}&visibility=course`, 'course'))
    .body.id;
  const foreign = (await world.upload(learner, 'name=foreign.txt', 'foreign')).body.id;
  const make = (fileIds: string[]) =>
    call('POST', `courses/${id}/lessons`, teacher, { title: 'F', kind: 'file', fileIds });
  const bad = await make([shared, foreign]);
  expect(bad.status).toBe(400);
  expect(bad.body.errors[0].path).toBe('body.fileIds.1');
  const lesson = (await make([shared, mine])).body;
  expect(lesson.files.map((file: { id: string }) => file.id)).toEqual([shared, mine]);
  const seen = (await call('GET', `lessons/${lesson.id}`, learner)).body;
  expect(seen.files.map((file: { id: string }) => file.id)).toEqual([shared]);
  await call('DELETE', `files/${shared}`, teacher);
  expect((await call('GET', `lessons/${lesson.id}`, learner)).body.files).toEqual([]);
});

test('enrolling twice is enrolling once; leaving and coming back keeps what was completed', async () => {
  const { id, lessonIds } = await world.course(teacher, { lessons: 2 });
  const first = await call('POST', `courses/${id}/enrolments`, learner);
  const again = await call('POST', `courses/${id}/enrolments`, learner);
  expect([first.status, again.status]).toEqual([201, 200]);
  expect(again.body).toEqual(first.body);
  expect((await call('POST', `courses/${id}/enrolments`, teacher)).body.code).toBe('forbidden');
  await call('PUT', `lessons/${lessonIds[0]}/completion`, learner);
  const list = (await call('GET', `courses/${id}/enrolments`, teacher)).body;
  expect(list.items).toMatchObject([{ courseId: id, userId: learner.userId, displayName: 'Lee' }]);
  expect((await call('GET', `courses/${id}/enrolments`, learner)).body.code).toBe('forbidden');
  expect((await call('DELETE', `courses/${id}/enrolments/me`, learner)).status).toBe(204);
  expect((await call('DELETE', `courses/${id}/enrolments/me`, learner)).status).toBe(404);
  expect((await call('GET', `courses/${id}/progress`, learner)).body.code).toBe('forbidden');
  await world.enrol(learner, id);
  expect((await call('GET', `courses/${id}/progress`, learner)).body).toMatchObject({
    completed: 1,
    total: 2,
    percent: 50,
  });
  const events = (await world.published('enrolment.created')).filter((event) => event.subject === id);
  expect(events.length).toBe(2);
  expect(events[0]!.data).toMatchObject({
    displayName: 'Lee',
    courseTitle: 'Knots',
    teacherId: teacher.userId,
  });
  expect((await world.published('enrolment.cancelled')).filter((event) => event.subject === id).length).toBe(
    1,
  );
});

test('progress counts up; completing again, or anew, tells nobody twice', async () => {
  const { id, lessonIds } = await world.course(teacher, { lessons: 3 });
  await world.enrol(learner, id);
  const complete = (n: number) => call('PUT', `lessons/${lessonIds[n]}/completion`, learner);
  const one = (await complete(0)).body;
  expect(one.progress).toEqual({ completed: 1, total: 3, percent: 33 });
  expect((await complete(0)).body).toEqual(one);
  const back = (await call('DELETE', `lessons/${lessonIds[0]}/completion`, learner)).body;
  expect(back).toEqual({
    lessonId: lessonIds[0],
    completedAt: null,
    progress: { completed: 0, total: 3, percent: 0 },
  });
  for (const n of [0, 1, 2]) await complete(n);
  await call('DELETE', `lessons/${lessonIds[1]}/completion`, learner);
  await complete(1);
  expect((await call('GET', `courses/${id}/progress`, learner)).body.percent).toBe(100);
  const of = async (name: 'lesson.completed' | 'course.completed') =>
    (await world.published(name)).filter((event) => (event.data as { courseId: string }).courseId === id);
  expect((await of('lesson.completed')).length).toBe(3);
  expect((await of('course.completed')).length).toBe(1);
  expect((await call('PUT', `lessons/${lessonIds[0]}/completion`, teacher)).body.code).toBe('forbidden');
});

test('two last lessons completed at once complete the course exactly once', async () => {
  for (let round = 0; round < 5; round++) {
    const { id, lessonIds } = await world.course(teacher, { lessons: 2 });
    await world.enrol(learner, id);
    await Promise.all(lessonIds.map((lessonId) => call('PUT', `lessons/${lessonId}/completion`, learner)));
    const events = (await world.published('course.completed')).filter((event) => event.subject === id);
    expect(events.length).toBe(1);
  }
});
