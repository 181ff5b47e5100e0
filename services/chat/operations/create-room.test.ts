import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { newId } from '../../../shared/ids.ts';
import { courseFacts, enrolmentFacts, person, startChat, type World } from '../test-school.ts';

setDefaultTimeout(60_000);

let world: World;
beforeAll(async () => {
  world = await startChat();
}, 60_000);
afterAll(() => world.stop());

test('a direct room is one per pair, called after the other', async () => {
  const [ada, ben, eve] = [
    await person(world, 'Ada'),
    await person(world, 'Ben'),
    await person(world, 'Eve'),
  ];
  const open = (as: typeof ada, other: string) =>
    world.call('POST', '/api/chat/rooms', { as, body: { kind: 'direct', memberIds: [other] } });
  const first = await open(ada, ben.userId);
  const second = await open(ben, ada.userId);
  expect([first.status, second.status]).toEqual([201, 200]);
  expect(second.body.id).toBe(first.body.id);
  expect([first.body.name, second.body.name]).toEqual(['Ben', 'Ada']);
  expect((await open(ada, ada.userId)).status).toBe(400);
  expect((await open(ada, newId())).body.errors[0].path).toBe('body.memberIds.0');
  expect((await world.call('GET', `/api/chat/rooms/${first.body.id}`, { as: eve })).status).toBe(404);
  const admin = await person(world, 'Root', 'admin');
  expect((await world.call('GET', `/api/chat/rooms/${first.body.id}`, { as: admin })).status).toBe(404);
});

test('a group: its owner takes people in and out, everybody may leave', async () => {
  const [ada, ben, eve] = [
    await person(world, 'Ada'),
    await person(world, 'Ben'),
    await person(world, 'Eve'),
  ];
  const group = await world.call('POST', '/api/chat/rooms', {
    as: ada,
    body: { kind: 'group', name: ' Study group ', memberIds: [ben.userId] },
  });
  expect(group.body).toMatchObject({
    kind: 'group',
    name: 'Study group',
    courseId: null,
    lastSeq: 0,
    unread: 0,
  });
  const members = `/api/chat/rooms/${group.body.id}/members`;
  const names = async () =>
    (await world.call('GET', members, { as: ben })).body.items
      .map((member: { displayName: string }) => member.displayName)
      .sort();

  expect((await world.call('POST', members, { as: ben, body: { memberIds: [eve.userId] } })).status).toBe(
    403,
  );
  const added = await world.call('POST', members, { as: ada, body: { memberIds: [eve.userId] } });
  expect(added.status).toBe(201);
  expect(added.body.items).toMatchObject([{ userId: eve.userId, displayName: 'Eve', role: 'member' }]);
  expect(await names()).toEqual(['Ada', 'Ben', 'Eve']);
  expect((await world.call('DELETE', `${members}/${eve.userId}`, { as: ben })).status).toBe(403);
  expect((await world.call('DELETE', `${members}/${eve.userId}`, { as: ada })).status).toBe(204);
  expect((await world.call('DELETE', `${members}/${ada.userId}`, { as: ada })).status).toBe(204);
  expect((await world.call('GET', members, { as: ben })).body.items).toMatchObject([
    { userId: ben.userId, role: 'owner' },
  ]);
});

test('rooms are listed last active first, in pages', async () => {
  const ada = await person(world, 'Ada');
  const ids: string[] = [];
  for (const name of ['One', 'Two', 'Three']) {
    const room = await world.call('POST', '/api/chat/rooms', {
      as: ada,
      body: { kind: 'group', name, memberIds: [] },
    });
    ids.push(room.body.id);
  }
  await world.call('POST', `/api/chat/rooms/${ids[0]}/messages`, {
    as: ada,
    body: { clientId: '1', body: 'Up' },
  });
  const first = await world.call('GET', '/api/chat/rooms?limit=2', { as: ada });
  const rest = await world.call('GET', `/api/chat/rooms?limit=2&cursor=${first.body.nextCursor}`, {
    as: ada,
  });
  const names = [...first.body.items, ...rest.body.items].map((room: { name: string }) => room.name);
  expect(names).toEqual(['One', 'Three', 'Two']);
  expect(rest.body.nextCursor).toBeNull();
  expect((await world.call('GET', '/api/chat/rooms?cursor=bm9uc2Vuc2U', { as: ada })).status).toBe(400);
});

test("a course's room follows its course and enrolments, in whatever order the events come", async () => {
  const ada = await person(world, 'Ada', 'teacher');
  const ben = await person(world, 'Ben');
  const courseId = newId();
  const at = (seconds: number) => ({ at: new Date(Date.UTC(2026, 0, 1, 8, 0, seconds)).toISOString() });
  const enrolment = enrolmentFacts(courseId, ada, ben);
  await world.emit('enrolment.created', enrolment, at(2));
  await world.emit('course.updated', courseFacts(courseId, ada, 'Renamed'), at(5));
  await world.emit('course.published', courseFacts(courseId, ada, 'First name'), at(1));
  await world.emit('enrolment.cancelled', enrolment, at(1));

  const rooms = async (as: typeof ben) =>
    (await world.call('GET', `/api/chat/rooms?courseId=${courseId}`, { as })).body.items;
  const [room] = await rooms(ben);
  expect(room).toMatchObject({ kind: 'course', name: 'Renamed', courseId, archived: false });
  expect((await rooms(ada))[0].id).toBe(room.id);

  await world.emit(
    'course.archived',
    { ...courseFacts(courseId, ada, 'Renamed'), status: 'archived' },
    at(9),
  );
  const send = await world.call('POST', `/api/chat/rooms/${room.id}/messages`, {
    as: ben,
    body: { clientId: '1', body: 'x' },
  });
  expect(send.body.code).toBe('conflict');
  expect((await world.call('GET', `/api/chat/rooms/${room.id}/messages`, { as: ben })).status).toBe(200);

  await world.emit('enrolment.cancelled', enrolment, at(10));
  expect(await rooms(ben)).toEqual([]);
});

test('an enrolment and the publication handled at the same moment still make a member', async () => {
  const ada = await person(world, 'Ada', 'teacher');
  const ben = await person(world, 'Ben');
  for (let round = 0; round < 5; round++) {
    const courseId = newId();
    await Promise.all([
      world.emit('course.published', courseFacts(courseId, ada)),
      world.emit('enrolment.created', enrolmentFacts(courseId, ada, ben)),
    ]);
    expect(
      (await world.call('GET', `/api/chat/rooms?courseId=${courseId}`, { as: ben })).body.items,
    ).toHaveLength(1);
  }
});
