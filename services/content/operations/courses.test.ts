import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { TestUser } from '../../../shared/testing/service.ts';
import { type ContentWorld, startContent } from '../testing.ts';
import { slugOf } from './create-course.ts';

let world: ContentWorld;
let teacher: TestUser;
let other: TestUser;
let learner: TestUser;
let admin: TestUser;

beforeAll(async () => {
  world = await startContent();
  teacher = await world.signIn({ role: 'teacher', name: 'Ada' });
  other = await world.signIn({ role: 'teacher' });
  learner = await world.signIn({ name: 'Lee' });
  admin = await world.signIn({ role: 'admin' });
});
afterAll(() => world.stop());

const courses = '/api/content/courses';
const get = (path: string, as?: TestUser) => world.call('GET', path, as ? { as } : {});
const post = (path: string, as: TestUser, body?: unknown, headers = {}) =>
  world.call('POST', path, { as, body, headers });

test('a teacher makes a course; its slug comes from the title and is never used twice', async () => {
  const first = await post(courses, teacher, {
    title: '  Knots & Splices für Anfänger ',
    summary: 'Ropes',
    language: 'de',
  });
  expect(first.status).toBe(201);
  expect(first.body).toMatchObject({
    slug: 'knots-splices-fur-anfanger',
    title: 'Knots & Splices für Anfänger',
    summary: 'Ropes',
    language: 'de',
    status: 'draft',
    teacher: { id: teacher.userId, displayName: 'Ada' },
  });
  const second = await post(courses, teacher, { title: 'Knots & Splices für Anfänger' });
  expect(second.body.slug).toMatch(/^knots-splices-fur-anfanger-[0-9a-f]{6}$/);
  expect(slugOf('!!!')).toBe('course');
  expect(slugOf('Узлы 101')).toBe('узлы-101');
  expect((await world.published('course.created')).length).toBeGreaterThanOrEqual(2);
});

test('learners make no courses, and a body with faults names them', async () => {
  expect((await post(courses, learner, { title: 'Mine' })).body.code).toBe('forbidden');
  const bad = await post(courses, teacher, { title: 7, colour: 'red' });
  expect(bad.status).toBe(400);
  expect(bad.body.code).toBe('validation-failed');
  expect((await post(courses, teacher, { title: 'NUL \u0000 inside' })).status).toBe(400);
  expect((await get(`${courses}/not-an-id`, teacher)).status).toBe(400);
  expect((await get(`${courses}?cursor=WyJ4Il0`, teacher)).status).toBe(400);
  expect((await get(`${courses}?limit=0`)).status).toBe(400);
});

test('the same idempotency key gives the first reply; another body is refused', async () => {
  const key = { 'idempotency-key': 'make-once-1' };
  const first = await post(courses, teacher, { title: 'Once' }, key);
  const again = await post(courses, teacher, { title: 'Once' }, key);
  expect(again.body).toEqual(first.body);
  expect((await post(courses, teacher, { title: 'Twice' }, key)).body.code).toBe('idempotency-key-reused');
});

test('drafts are seen by their teacher and administrators only', async () => {
  const { id } = await world.course(teacher, { publish: false });
  for (const as of [undefined, learner, other]) {
    expect((await get(`${courses}/${id}`, as)).body.code).toBe('not-found');
    expect(
      (await get(`${courses}?limit=100`, as)).body.items.map((item: { id: string }) => item.id),
    ).not.toContain(id);
  }
  for (const as of [teacher, admin]) {
    expect((await get(`${courses}/${id}`, as)).status).toBe(200);
    expect(
      (await get(`${courses}?limit=100`, as)).body.items.map((item: { id: string }) => item.id),
    ).toContain(id);
  }
  expect((await post(`${courses}/${id}/enrolments`, learner)).body.code).toBe('not-found');
});

test('publishing twice tells it once; anybody may read the course then, nobody else may change it', async () => {
  const { id } = await world.course(teacher, { publish: false });
  const before = (await world.published('course.published')).length;
  expect((await post(`${courses}/${id}/publish`, other)).body.code).toBe('not-found');
  expect((await post(`${courses}/${id}/publish`, teacher)).body.status).toBe('published');
  expect((await post(`${courses}/${id}/publish`, teacher)).status).toBe(200);
  expect((await world.published('course.published')).length).toBe(before + 1);
  expect((await get(`${courses}/${id}`)).status).toBe(200);
  expect((await post(`${courses}/${id}/publish`, other)).body.code).toBe('forbidden');
  expect(
    (await world.call('PATCH', `${courses}/${id}`, { as: other, body: { title: 'Stolen' } })).status,
  ).toBe(403);
});

test('an archived course is kept by those enrolled and hidden from the rest', async () => {
  const { id } = await world.course(teacher);
  await world.enrol(learner, id);
  await post(`${courses}/${id}/archive`, teacher);
  expect((await get(`${courses}/${id}`, learner)).body.status).toBe('archived');
  expect((await get(`${courses}/${id}`, other)).status).toBe(404);
  expect((await get(`${courses}/${id}`)).status).toBe(404);
  expect((await post(`${courses}/${id}/enrolments`, learner)).status).toBe(200);
});

test('a search takes % and _ as they are, in any case, in title and summary', async () => {
  await post(courses, teacher, { title: 'All of it: 100%_sure', summary: 'Certainty' });
  const found = async (q: string) =>
    (await get(`${courses}?mine=true&q=${encodeURIComponent(q)}`, teacher)).body.items.length;
  expect(await found('100%_SURE')).toBe(1);
  expect(await found('certaint')).toBe(1);
  expect(await found('100%%sure')).toBe(0);
  expect((await get(`${courses}?mine=true`)).body.code).toBe('unauthenticated');
});

test('pages follow one another without gaps', async () => {
  const owner = await world.signIn({ role: 'teacher' });
  for (let n = 0; n < 5; n++) await world.course(owner);
  const seen: string[] = [];
  for (let cursor = ''; ; ) {
    const { body } = await get(`${courses}?mine=true&limit=2${cursor}`, owner);
    seen.push(...body.items.map((item: { id: string }) => item.id));
    if (body.nextCursor === null) break;
    cursor = `&cursor=${body.nextCursor}`;
  }
  expect(seen.length).toBe(5);
  expect([...seen].sort().reverse()).toEqual(seen);
});

test('If-Match keeps one editor from overwriting another; If-None-Match saves the body', async () => {
  const { id } = await world.course(teacher);
  const etag = (await get(`${courses}/${id}`, teacher)).headers.get('etag')!;
  const not = await world.call('GET', `${courses}/${id}`, { headers: { 'if-none-match': etag } });
  expect(not.status).toBe(304);
  const patch = (title: string) =>
    world.call('PATCH', `${courses}/${id}`, { as: teacher, body: { title }, headers: { 'if-match': etag } });
  expect((await patch('First')).body.title).toBe('First');
  expect((await patch('Second')).body.code).toBe('precondition-failed');
});

test('a changed name shows, whatever the order of its events', async () => {
  const bob = await world.signIn({ role: 'teacher', name: 'Bob' });
  const { id } = await world.course(bob);
  const name = async () => (await get(`${courses}/${id}`)).body.teacher.displayName;
  const facts = { userId: bob.userId, avatar: null, locale: 'en' };
  await world.emit(
    'profile.updated',
    { ...facts, displayName: 'Robert' },
    { at: '2030-01-02T00:00:00.000Z' },
  );
  expect(await name()).toBe('Robert');
  await world.emit('profile.updated', { ...facts, displayName: 'Bobby' }, { at: '2030-01-01T00:00:00.000Z' });
  expect(await name()).toBe('Robert');
});

test('who was a teacher and is none any more manages nothing', async () => {
  const { id } = await world.course(teacher);
  const demoted = await world.signIn({ role: 'learner', userId: teacher.userId });
  expect((await world.call('PATCH', `${courses}/${id}`, { as: demoted, body: { title: 'x' } })).status).toBe(
    403,
  );
});
