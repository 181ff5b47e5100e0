import { afterAll, beforeAll, expect, test } from 'bun:test';
import { DEFAULT_CHANNELS } from '../../../shared/contracts/notifications.ts';
import { newId } from '../../../shared/ids.ts';
import { startTestService, type TestService, type TestUser } from '../../../shared/testing/service.ts';
import { createNotifications } from '../service.ts';
import type { NotificationsTables } from '../store/tables.ts';

let world: TestService<NotificationsTables>;
beforeAll(async () => {
  world = await startTestService(createNotifications);
}, 60_000);
afterAll(() => world.stop());

const api = '/api/notifications';
const get = async (as: TestUser, query = '') => (await world.call('GET', `${api}${query}`, { as })).body;

async function teacherWith(count: number): Promise<TestUser> {
  const teacher = await world.signIn({ role: 'teacher' });
  for (let i = 1; i <= count; i++) {
    await world.emit('enrolment.created', {
      courseId: newId(),
      userId: newId(),
      displayName: `Learner ${i}`,
      courseTitle: 'Algebra',
      teacherId: teacher.userId,
    });
  }
  return teacher;
}

test('the list is paged, newest first, each once', async () => {
  const teacher = await teacherWith(5);
  const titles: string[] = [];
  let cursor = '';
  for (let pages = 0; pages < 3; pages++) {
    const page = await get(teacher, `?limit=2${cursor && `&cursor=${cursor}`}`);
    expect(page.unreadCount).toBe(5);
    titles.push(...page.items.map((item: { title: string }) => item.title.split(' enrolled')[0]));
    cursor = page.nextCursor;
  }
  expect(titles).toEqual([5, 4, 3, 2, 1].map((i) => `Learner ${i}`));
  expect(cursor).toBeNull();
});

test('reading one, then all', async () => {
  const teacher = await teacherWith(3);
  const [newest] = (await get(teacher)).items;
  const read = () => world.call('PUT', `${api}/${newest.id}/read`, { as: teacher });
  expect((await read()).status).toBe(204);
  const { readAt } = (await get(teacher)).items[0];
  expect(readAt).not.toBeNull();
  expect((await read()).status).toBe(204);
  expect((await get(teacher)).items[0].readAt).toBe(readAt);
  const unread = await get(teacher, '?unread=true');
  expect([unread.items.length, unread.unreadCount]).toEqual([2, 2]);
  expect((await world.call('POST', `${api}/read-all`, { as: teacher })).status).toBe(204);
  const after = await get(teacher);
  expect([after.items.length, after.unreadCount]).toEqual([3, 0]);
});

test('somebody else’s notification is not there', async () => {
  const teacher = await teacherWith(1);
  const stranger = await world.signIn({ role: 'admin' });
  const { id } = (await get(teacher)).items[0];
  const answer = await world.call('PUT', `${api}/${id}/read`, { as: stranger });
  expect([answer.status, answer.body.code]).toEqual([404, 'not-found']);
  expect((await get(teacher)).unreadCount).toBe(1);
  expect((await get(stranger)).items).toEqual([]);
  expect((await world.call('GET', api)).status).toBe(401);
});

test('preferences: defaults, and only what is sent changes', async () => {
  const ada = await world.signIn();
  const path = `${api}/preferences`;
  const first = await world.call('GET', path, { as: ada });
  expect(first.body).toEqual(DEFAULT_CHANNELS);
  const put = (body: unknown, headers = {}) => world.call('PUT', path, { as: ada, body, headers });
  const off = { inApp: true, email: false, push: true };
  expect((await put({ mention: off })).body).toEqual({ ...DEFAULT_CHANNELS, mention: off });
  expect((await put({ enrolment: off })).body).toEqual({ ...DEFAULT_CHANNELS, mention: off, enrolment: off });
  expect((await put((await world.call('GET', path, { as: ada })).body)).status).toBe(200);
  expect((await put({ mention: off }, { 'if-match': first.headers.get('etag')! })).status).toBe(412);
});

test('two changes of preferences at once both stay', async () => {
  const ada = await world.signIn();
  const off = { inApp: false, email: false, push: false };
  const kinds = Object.keys(DEFAULT_CHANNELS);
  await Promise.all(
    kinds.map((kind) => world.call('PUT', `${api}/preferences`, { as: ada, body: { [kind]: off } })),
  );
  const { body } = await world.call('GET', `${api}/preferences`, { as: ada });
  expect(body).toEqual(Object.fromEntries(kinds.map((kind) => [kind, off])));
});

test.each([
  ['PUT', '/preferences', { unknown: { inApp: true, email: true, push: true } }],
  ['PUT', '/preferences', { mention: { inApp: true, email: true } }],
  ['PUT', '/preferences', { mention: { inApp: 'yes', email: true, push: true } }],
  ['PUT', '/preferences', { mention: { inApp: true, email: true, push: true, sms: true } }],
  ['PUT', '/preferences', []],
  ['PUT', '/preferences', undefined],
  ['PUT', '/not-an-id/read', undefined],
  ['GET', '?unread=maybe', undefined],
  ['GET', '?limit=101', undefined],
  ['GET', '?cursor=bm9uc2Vuc2U', undefined],
  ['GET', '?cursor=WyJub3QtYW4taWQiXQ', undefined],
  ['GET', '?what=1', undefined],
])('%s %s %j is refused as not valid', async (method, path, body) => {
  const ada = await world.signIn();
  const answer = await world.call(method, api + path, { as: ada, body });
  expect([answer.status, answer.body.code]).toEqual([400, 'validation-failed']);
  expect((await world.call('GET', `${api}/preferences`, { as: ada })).body).toEqual(DEFAULT_CHANNELS);
});
