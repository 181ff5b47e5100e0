import { afterAll, beforeAll, expect, test } from 'bun:test';
import { newId } from '../../../shared/ids.ts';
import { startTestService, type TestService } from '../../../shared/testing/service.ts';
import { createProfile } from '../service.ts';
import type { ProfileTables } from '../store/tables.ts';

let world: TestService<ProfileTables>;
beforeAll(async () => {
  world = await startTestService(createProfile);
}, 60_000);
afterAll(() => world.stop());

const me = '/api/profiles/me';
const register = (userId: string, displayName: string, role: 'learner' | 'teacher' | 'admin' = 'learner') =>
  world.emit('user.registered', { userId, email: 'x@example.org', displayName, role });

test('a profile is there at the first look, even before the event of the registration', async () => {
  const ada = await world.signIn({ name: 'Ada', role: 'teacher' });
  const { status, body } = await world.call('GET', me, { as: ada });
  expect(status).toBe(200);
  expect(body).toMatchObject({
    userId: ada.userId,
    displayName: 'Ada',
    role: 'teacher',
    bio: '',
    locale: 'en',
    timeZone: 'UTC',
    links: [],
    avatar: null,
    privacy: { profile: 'everyone', findable: true },
  });
});

test('a change keeps what is left out, and the others hear of it', async () => {
  const ada = await world.signIn({ name: 'Ada' });
  const changed = await world.call('PATCH', me, {
    as: ada,
    body: {
      displayName: ' Ada L. ',
      locale: 'de-at',
      timeZone: 'Europe/Vienna',
      privacy: { showBio: false },
    },
  });
  expect(changed.status).toBe(200);
  expect(changed.body).toMatchObject({
    displayName: 'Ada L.',
    locale: 'de-AT',
    timeZone: 'Europe/Vienna',
    bio: '',
  });
  expect(changed.body.privacy).toMatchObject({ showBio: false, showLinks: true });
  const second = await world.call('PATCH', me, { as: ada, body: { privacy: { findable: false } } });
  expect(second.body.privacy).toMatchObject({ showBio: false, findable: false });
  const events = await world.published('profile.updated');
  expect(events.find((event) => event.subject === ada.userId)?.data).toEqual({
    userId: ada.userId,
    displayName: 'Ada L.',
    avatar: null,
    locale: 'de-AT',
    showPresence: true,
  });
});

test('a late registration does not take a changed name back', async () => {
  const ada = await world.signIn({ name: 'Old Name' });
  await world.call('PATCH', me, { as: ada, body: { displayName: 'New Name' } });
  await register(ada.userId, 'Old Name');
  expect((await world.call('GET', me, { as: ada })).body.displayName).toBe('New Name');
});

test('two windows: the one that read an old profile is told', async () => {
  const ada = await world.signIn();
  const first = await world.call('GET', me, { as: ada });
  const etag = first.headers.get('etag')!;
  expect((await world.call('GET', me, { as: ada, headers: { 'if-none-match': etag } })).status).toBe(304);
  const change = (bio: string, tag: string) =>
    world.call('PATCH', me, { as: ada, body: { bio }, headers: { 'if-match': tag } });
  const changed = await change('one', etag);
  expect(changed.status).toBe(200);
  const refused = await change('two', etag);
  expect(refused.status).toBe(412);
  expect(refused.body.code).toBe('precondition-failed');
  expect((await change('three', changed.headers.get('etag')!)).status).toBe(200);
});

test.each([
  ['not JSON', '{"bio":'],
  ['an unknown field', { role: 'admin' }],
  ['an unknown privacy field', { privacy: { all: true } }],
  ['a name with NUL', { displayName: 'a\u0000b' }],
  ['a name of 10,000 characters', { displayName: 'x'.repeat(10_000) }],
  ['a name of spaces', { displayName: '   ' }],
  ['half a surrogate pair', '{"displayName":"\\ud800"}'],
  ['a language that is none', { locale: 'not_a_locale!' }],
  ['a zone that is none', { timeZone: 'Mars/Olympus' }],
  ['an offset for a zone', { timeZone: '+02:00' }],
  ['a link that runs code', { links: [{ label: 'x', url: 'javascript:alert(1)' }] }],
  ['a link with a password', { links: [{ label: 'x', url: 'https://a:b@example.org' }] }],
  ['eleven links', { links: Array.from({ length: 11 }, () => ({ label: 'x', url: 'https://example.org' })) }],
  ['a wrong type', { bio: 7 }],
])('%s is refused and changes nothing', async (_, body) => {
  const ada = await world.signIn({ name: 'Ada' });
  const headers = { 'content-type': 'application/json' };
  const answer = await world.call('PATCH', me, { as: ada, body, headers });
  expect(answer.status).toBe(400);
  expect(answer.body.code).toBe('validation-failed');
  expect((await world.call('GET', me, { as: ada })).body.displayName).toBe('Ada');
});

test('others see what the owner shows them', async () => {
  const owner = await world.signIn({ name: 'Grace' });
  const learner = await world.signIn();
  const teacher = await world.signIn({ role: 'teacher' });
  const admin = await world.signIn({ role: 'admin' });
  const links = [{ label: 'Home', url: 'https://example.org/' }];
  const set = (privacy: object) =>
    world.call('PATCH', me, {
      as: owner,
      body: { bio: 'Admiral', timeZone: 'America/New_York', links, privacy },
    });
  const see = async (as: typeof owner) =>
    (await world.call('GET', `/api/profiles/${owner.userId}`, { as })).body;

  await set({});
  expect(await see(learner)).toEqual({
    userId: owner.userId,
    displayName: 'Grace',
    role: 'learner',
    avatar: null,
    bio: 'Admiral',
    links,
    timeZone: 'America/New_York',
  });
  await set({ showBio: false, showLinks: false, showTimeZone: false });
  expect(await see(learner)).toMatchObject({ bio: null, links: [], timeZone: null });
  expect(await see(owner)).toMatchObject({ bio: 'Admiral', links });
  await set({ profile: 'teachers' });
  expect((await see(learner)).code).toBe('not-found');
  expect((await see(teacher)).displayName).toBe('Grace');
  await set({ profile: 'nobody' });
  expect((await see(teacher)).code).toBe('not-found');
  expect((await see(admin)).bio).toBe('Admiral');
  expect((await see(owner)).bio).toBe('Admiral');
});

test('a search finds part of a name without case and accents, and only who wants to be found', async () => {
  const mark = newId().slice(-6);
  const people: Awaited<ReturnType<typeof world.signIn>>[] = [];
  for (const name of [`Åsa ${mark}`, `bert ${mark}`, `Çelik ${mark}`]) {
    const person = await world.signIn({ name });
    await register(person.userId, name);
    people.push(person);
  }
  const teacher = await world.signIn({ role: 'teacher' });
  const find = async (q: string, more = '') =>
    (await world.call('GET', `/api/profiles?q=${encodeURIComponent(q)}${more}`, { as: teacher })).body;
  const names = (result: { items: { displayName: string }[] }) =>
    result.items.map((item) => item.displayName);

  expect(names(await find(`ASA ${mark}`))).toEqual([`Åsa ${mark}`]);
  const first = await find(mark, '&limit=2');
  expect(names(first)).toEqual([`Åsa ${mark}`, `bert ${mark}`]);
  const second = await find(mark, `&limit=2&cursor=${first.nextCursor}`);
  expect(names(second)).toEqual([`Çelik ${mark}`]);
  expect(second.nextCursor).toBeNull();
  expect(await find('%')).toEqual({ items: [], nextCursor: null });

  await world.call('PATCH', me, { as: people[0]!, body: { privacy: { findable: false } } });
  await world.call('PATCH', me, { as: people[1]!, body: { privacy: { profile: 'nobody' } } });
  await world.emit('user.disabled', { userId: people[2]!.userId, disabled: true });
  expect(names(await find(mark))).toEqual([]);
  expect((await world.call('GET', `/api/profiles/${people[2]!.userId}`, { as: teacher })).status).toBe(404);
  await world.emit('user.disabled', { userId: people[2]!.userId, disabled: false });
  expect(names(await find(mark))).toEqual([`Çelik ${mark}`]);
});

test('a bad cursor, id or query is the caller’s fault', async () => {
  const ada = await world.signIn();
  for (const path of ['?q=', '', '?q=a&cursor=WyJhIiwiYiJd', '?q=a&limit=0', '?q=a&x=1', '/not-an-id']) {
    expect((await world.call('GET', `/api/profiles${path}`, { as: ada })).status).toBe(
      path === '/' ? 400 : 400,
    );
  }
  expect((await world.call('GET', `/api/profiles/${newId()}`, { as: ada })).body.code).toBe('not-found');
  expect((await world.call('GET', me)).body.code).toBe('unauthenticated');
});

test('preferences: defaults first, then what was chosen', async () => {
  const ada = await world.signIn();
  const path = `${me}/preferences`;
  const first = await world.call('GET', path, { as: ada });
  expect(first.body).toEqual({
    theme: 'system',
    language: null,
    textSize: 'normal',
    reducedMotion: false,
    enterSends: true,
  });
  const changed = await world.call('PATCH', path, { as: ada, body: { theme: 'dark', language: 'pt-br' } });
  expect(changed.body).toMatchObject({ theme: 'dark', language: 'pt-BR', textSize: 'normal' });
  expect((await world.call('GET', path, { as: ada })).body).toEqual(changed.body);
  const stale = { 'if-match': first.headers.get('etag')! };
  expect(
    (await world.call('PATCH', path, { as: ada, body: { theme: 'light' }, headers: stale })).status,
  ).toBe(412);
  expect((await world.call('PATCH', path, { as: ada, body: { theme: 'pink' } })).status).toBe(400);
});

test('a role that arrives late does not undo a newer one', async () => {
  const { userId } = await world.signIn();
  const viewer = await world.signIn();
  await world.emit(
    'user.role-changed',
    { userId, from: 'learner', to: 'teacher' },
    { at: '2030-01-02T00:00:00.000Z' },
  );
  await register(userId, 'Late');
  await world.emit(
    'user.role-changed',
    { userId, from: 'teacher', to: 'admin' },
    { at: '2030-01-01T00:00:00.000Z' },
  );
  expect((await world.call('GET', `/api/profiles/${userId}`, { as: viewer })).body.role).toBe('teacher');
});

test('a deleted account leaves nothing, and nothing late brings it back', async () => {
  const ada = await world.signIn({ name: 'Gone' });
  const viewer = await world.signIn();
  await world.call('PATCH', me, { as: ada, body: { bio: 'secret' } });
  await world.emit('user.deleted', { userId: ada.userId });
  await register(ada.userId, 'Gone');
  expect((await world.call('GET', `/api/profiles/${ada.userId}`, { as: viewer })).status).toBe(404);
  expect((await world.call('GET', me, { as: ada })).status).toBe(401);
});
