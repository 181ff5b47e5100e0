import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { Invitation, RoomSettings } from '../../../shared/contracts/chat.ts';
import { newId } from '../../../shared/ids.ts';
import type { TestUser } from '../../../shared/testing/service.ts';
import {
  ask,
  connect,
  courseFacts,
  disconnectAll,
  must,
  next,
  openGroup,
  openSchool,
  person,
  startChat,
  until,
  type World,
} from '../test-school.ts';

setDefaultTimeout(60_000);

let world: World;
beforeAll(async () => {
  world = await startChat(1000);
}, 60_000);
afterEach(disconnectAll);
afterAll(() => world.stop());

const call = (as: TestUser, method: string, path: string, body?: unknown) =>
  world.call(method, `/api/chat${path}`, { as, ...(body === undefined ? {} : { body }) });
const people = (...names: string[]) => Promise.all(names.map((name) => person(world, name)));
const rolesIn = async (roomId: string, as: TestUser): Promise<Record<string, string>> =>
  Object.fromEntries(
    (await call(as, 'GET', `/rooms/${roomId}/members?limit=100`)).body.items.map(
      (member: { displayName: string; role: string }) => [member.displayName, member.role],
    ),
  );

describe('roles', () => {
  test('a group’s owner makes moderators, who keep order but own nothing', async () => {
    const [ada, ben, eve] = (await people('Ada', 'Ben', 'Eve')) as [TestUser, TestUser, TestUser];
    const roomId = await openGroup(world, ada, [ben, eve]);
    const role = (as: TestUser, of: TestUser, to: string) =>
      call(as, 'PATCH', `/rooms/${roomId}/members/${of.userId}`, { role: to });

    expect((await role(ben, ben, 'moderator')).status).toBe(403);
    expect((await role(ada, ben, 'moderator')).body).toMatchObject({ userId: ben.userId, role: 'moderator' });
    expect((await call(ben, 'GET', `/rooms/${roomId}`)).body.role).toBe('moderator');
    expect((await role(ben, eve, 'moderator')).status).toBe(403);
    expect((await call(ben, 'PATCH', `/rooms/${roomId}`, { slowModeSeconds: 5 })).status).toBe(200);
    expect((await call(ben, 'PATCH', `/rooms/${roomId}`, { name: 'Ours' })).status).toBe(403);
    expect((await call(ben, 'DELETE', `/rooms/${roomId}/members/${ada.userId}`)).status).toBe(403);
    expect((await call(ben, 'DELETE', `/rooms/${roomId}/members/${eve.userId}`)).status).toBe(204);
    expect((await role(ada, eve, 'moderator')).status).toBe(404);
    expect((await role(ada, ada, 'member')).body.code).toBe('conflict');
    for (const body of [{}, { role: 'king' }, { role: 'owner', more: 1 }])
      expect((await call(ada, 'PATCH', `/rooms/${roomId}/members/${ben.userId}`, body)).status).toBe(400);
  });

  test('a group can be handed over, and goes to a moderator when its owner leaves', async () => {
    const [ada, ben, eve] = (await people('Ada', 'Ben', 'Eve')) as [TestUser, TestUser, TestUser];
    const roomId = await openGroup(world, ada, [ben, eve]);
    await call(ada, 'PATCH', `/rooms/${roomId}/members/${eve.userId}`, { role: 'owner' });
    expect(await rolesIn(roomId, ben)).toEqual({ Ada: 'moderator', Ben: 'member', Eve: 'owner' });
    await call(eve, 'DELETE', `/rooms/${roomId}/members/${eve.userId}`);
    expect(await rolesIn(roomId, ben)).toEqual({ Ada: 'owner', Ben: 'member' });
  });

  test('a course’s room belongs to its teacher; its moderators stay when the course changes', async () => {
    const { roomId, courseId, teacher, learner } = await openSchool(world);
    const role = (of: TestUser, to: string) =>
      call(teacher, 'PATCH', `/rooms/${roomId}/members/${of.userId}`, { role: to });
    expect((await role(learner, 'owner')).status).toBe(403);
    expect((await role(teacher, 'member')).status).toBe(403);
    expect((await role(learner, 'moderator')).status).toBe(200);
    await world.emit('course.updated', courseFacts(courseId, teacher, 'Renamed'));
    expect(await rolesIn(roomId, teacher)).toEqual({ Ada: 'owner', Ben: 'moderator' });
  });
});

describe('invitations', () => {
  test('are seen by whom they are for, live too, and make members of those who accept', async () => {
    const [ada, ben, eve] = (await people('Ada', 'Ben', 'Eve')) as [TestUser, TestUser, TestUser];
    const roomId = await openGroup(world, ada, []);
    const client = await connect(world.url, ben.token);
    const invited = next<Invitation>(client, 'invitation');
    const userIds = [ben.userId, eve.userId];
    const made = await call(ada, 'POST', `/rooms/${roomId}/invitations`, { userIds });
    expect(made.status).toBe(201);
    expect(made.body.items).toHaveLength(2);
    expect(await invited).toMatchObject({
      roomId,
      roomName: 'Study group',
      invitedBy: { displayName: 'Ada' },
    });

    const events = (await world.published('room.invited')).filter(
      ({ data }) => (data as { roomId: string }).roomId === roomId,
    );
    expect(events.map(({ data }) => data)).toContainEqual({
      userId: ben.userId,
      invitationId: made.body.items.find(({ user }: Invitation) => user.id === ben.userId).id,
      roomId,
      roomName: 'Study group',
      invitedBy: ada.userId,
      invitedByName: 'Ada',
    });

    const again = await call(ada, 'POST', `/rooms/${roomId}/invitations`, { userIds });
    expect((await world.published('room.invited')).length).toBe(events.length);
    expect(again.body.items.map(({ id }: Invitation) => id)).toEqual(
      made.body.items.map(({ id }: Invitation) => id),
    );
    const [mine] = (await call(ben, 'GET', '/invitations')).body.items;
    expect(mine.user.id).toBe(ben.userId);
    expect((await call(ben, 'GET', `/rooms/${roomId}`)).status).toBe(404);
    expect((await call(eve, 'POST', `/invitations/${mine.id}/accept`)).status).toBe(404);
    const room = await call(ben, 'POST', `/invitations/${mine.id}/accept`);
    expect(room.body).toMatchObject({ id: roomId, role: 'member', unread: 0 });
    expect((await call(ben, 'POST', `/invitations/${mine.id}/accept`)).status).toBe(404);

    const [hers] = (await call(eve, 'GET', '/invitations')).body.items;
    expect((await call(eve, 'POST', `/invitations/${hers.id}/decline`)).status).toBe(204);
    expect((await call(ada, 'GET', `/rooms/${roomId}/invitations`)).body.items).toEqual([]);
    expect(await rolesIn(roomId, ada)).toEqual({ Ada: 'owner', Ben: 'member' });
  });

  test('can be taken back, and are for groups and moderators only', async () => {
    const [ada, ben, eve] = (await people('Ada', 'Ben', 'Eve')) as [TestUser, TestUser, TestUser];
    const roomId = await openGroup(world, ada, [ben]);
    const invite = (as: TestUser, room: string, userIds: string[]) =>
      call(as, 'POST', `/rooms/${room}/invitations`, { userIds });
    expect((await invite(ben, roomId, [eve.userId])).status).toBe(403);
    expect((await invite(eve, roomId, [eve.userId])).status).toBe(404);
    expect((await invite(ada, roomId, [newId()])).status).toBe(400);
    expect((await invite(ada, roomId, [])).status).toBe(400);
    expect((await invite(ada, roomId, [ben.userId])).body.items).toEqual([]);
    await invite(ada, roomId, [eve.userId]);
    expect((await call(ben, 'DELETE', `/rooms/${roomId}/invitations/${eve.userId}`)).status).toBe(403);
    expect((await call(ada, 'DELETE', `/rooms/${roomId}/invitations/${eve.userId}`)).status).toBe(204);
    expect((await call(ada, 'DELETE', `/rooms/${roomId}/invitations/${eve.userId}`)).status).toBe(404);
    expect((await call(eve, 'GET', '/invitations')).body.items).toEqual([]);
    const { roomId: courseRoom, teacher } = await openSchool(world);
    expect((await invite(teacher, courseRoom, [eve.userId])).status).toBe(403);
  });
});

describe('settings', () => {
  test('rename, archive and back, told to who is in the room', async () => {
    const [ada, ben] = (await people('Ada', 'Ben')) as [TestUser, TestUser];
    const roomId = await openGroup(world, ada, [ben]);
    const client = await connect(world.url, ben.token);
    await must(client, 'room:join', { roomId });
    const told = next<RoomSettings>(client, 'room:updated');
    const change = (body: object) => call(ada, 'PATCH', `/rooms/${roomId}`, body);
    expect((await change({ name: ' New name ', archived: true })).body).toMatchObject({
      name: 'New name',
      archived: true,
    });
    expect(await told).toMatchObject({ id: roomId, name: 'New name', archived: true });
    const send = () => ask(client, 'message:send', { roomId, clientId: newId(), body: 'x' });
    expect(await send()).toMatchObject({ ok: false, error: { code: 'conflict' } });
    const names = async (query: string) =>
      (await call(ben, 'GET', `/rooms?${query}`)).body.items.map(({ name }: RoomSettings) => name);
    expect(await names('archived=true')).toEqual(['New name']);
    expect(await names('archived=false')).toEqual([]);
    await change({ archived: false });
    expect(await send()).toMatchObject({ ok: true });
    for (const bad of [
      { name: '' },
      { name: 'a\u0000b' },
      { name: 'a\u202eb' },
      { retentionDays: 0 },
      { slowModeSeconds: -1 },
      { kind: 'direct' },
    ])
      expect([bad, (await change(bad)).status]).toEqual([bad, 400]);
  });

  test('of a course’s room follow the course, of a direct room there are receipts only', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    expect((await call(teacher, 'PATCH', `/rooms/${roomId}`, { name: 'Mine' })).status).toBe(403);
    expect((await call(teacher, 'PATCH', `/rooms/${roomId}`, { locked: true })).status).toBe(200);
    expect((await call(learner, 'PATCH', `/rooms/${roomId}`, { locked: false })).status).toBe(403);
    const direct = await call(teacher, 'POST', '/rooms', { kind: 'direct', memberIds: [learner.userId] });
    const change = (body: object) => call(learner, 'PATCH', `/rooms/${direct.body.id}`, body);
    expect((await change({ retentionDays: 1 })).status).toBe(403);
    expect((await change({ receipts: false })).body.receipts).toBe(false);
    const admin = await person(world, 'Root', 'admin');
    expect((await call(admin, 'PATCH', `/rooms/${direct.body.id}`, { receipts: true })).status).toBe(404);
  });

  test('an administrator sets up a group without reading it', async () => {
    const [ada] = (await people('Ada')) as [TestUser];
    const roomId = await openGroup(world, ada, []);
    const admin = await person(world, 'Root', 'admin');
    expect((await call(admin, 'PATCH', `/rooms/${roomId}`, { locked: true })).status).toBe(200);
    expect((await call(admin, 'GET', `/rooms/${roomId}/messages`)).status).toBe(404);
    expect((await call(admin, 'GET', `/rooms/${roomId}/export`)).status).toBe(404);
  });

  test('receipts turned off: reading is told to nobody, and nobody’s mark is shown', async () => {
    const [ada, ben] = (await people('Ada', 'Ben')) as [TestUser, TestUser];
    const roomId = await openGroup(world, ada, [ben]);
    const marks = async () =>
      (await call(ada, 'GET', `/rooms/${roomId}/members`)).body.items.map(
        ({ readSeq }: { readSeq: number | null }) => readSeq,
      );
    const hers = await connect(world.url, ada.token);
    const his = await connect(world.url, ben.token);
    await must(hers, 'room:join', { roomId });
    for (let n = 0; n < 3; n++) await must(hers, 'message:send', { roomId, clientId: `${n}`, body: 'x' });
    const heard: number[] = [];
    hers.on('read', ({ seq, userId }) => void (userId === ben.userId && heard.push(seq)));
    await must(his, 'read', { roomId, seq: 1 });
    await until(() => heard.length === 1);
    expect((await marks()).sort()).toEqual([1, 3]);
    await call(ada, 'PATCH', `/rooms/${roomId}`, { receipts: false });
    const own = next(his, 'read');
    await must(his, 'read', { roomId, seq: 2 });
    expect(await own).toMatchObject({ seq: 2 });
    await must(hers, 'presence:list', { roomId });
    expect(heard).toEqual([1]);
    expect(await marks()).toEqual([null, null]);
  });
});

describe('presence and typing', () => {
  test('of who hides them reach nobody, from the moment it is said', async () => {
    const [ada, ben] = (await people('Ada', 'Ben')) as [TestUser, TestUser];
    const roomId = await openGroup(world, ada, [ben]);
    const profile = (showPresence: boolean) =>
      world.emit('profile.updated', {
        userId: ben.userId,
        displayName: 'Ben',
        avatar: null,
        locale: 'en',
        showPresence,
      });
    const hers = await connect(world.url, ada.token);
    const his = await connect(world.url, ben.token);
    await must(hers, 'room:join', { roomId });
    const online = async () => (await must(hers, 'presence:list', { roomId })).online;
    await until(async () => (await online()).includes(ben.userId));

    const goes = next(hers, 'presence');
    await profile(false);
    expect(await goes).toEqual({ userId: ben.userId, online: false });
    expect(await online()).toEqual([ada.userId]);
    const heard: string[] = [];
    hers.on('typing', () => heard.push('typing'));
    hers.on('presence', () => heard.push('presence'));
    await must(his, 'typing', { roomId });
    his.disconnect();
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const back = await connect(world.url, ben.token);
    await must(back, 'presence:list', { roomId });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(heard).toEqual([]);

    const comes = next(hers, 'presence');
    await profile(true);
    expect(await comes).toEqual({ userId: ben.userId, online: true });
    await world.emit('profile.updated', {
      userId: ben.userId,
      displayName: 'Benny',
      avatar: null,
      locale: 'en',
    });
    expect((await online()).sort()).toEqual([ada.userId, ben.userId].sort());
  });
});

test('rooms with their unread counts take one query however many there are; one’s own messages are read', async () => {
  const [ada, ben] = (await people('Ada', 'Ben')) as [TestUser, TestUser];
  const roomIds: string[] = [];
  for (let n = 0; n < 12; n++) roomIds.push(await openGroup(world, ada, [ben], `Room ${n}`));
  const say = (as: TestUser, roomId: string) =>
    call(as, 'POST', `/rooms/${roomId}/messages`, { clientId: newId(), body: 'x' });
  for (const roomId of roomIds.slice(0, 3)) await say(ada, roomId);
  await say(ada, roomIds[0]!);
  await say(ben, roomIds[1]!);
  const unread = async (as: TestUser): Promise<number[]> =>
    (await call(as, 'GET', '/rooms?limit=100')).body.items
      .slice(0, 3)
      .map((room: { unread: number }) => room.unread);
  // Last active first: what Ben has answered, what Ada said last, and the third.
  expect(await unread(ben)).toEqual([0, 2, 1]);
  expect(await unread(ada)).toEqual([1, 0, 0]);
});

test('reading on one device is known on the others', async () => {
  const [ada, ben] = (await people('Ada', 'Ben')) as [TestUser, TestUser];
  const roomId = await openGroup(world, ada, [ben]);
  const [phone, laptop] = [await connect(world.url, ben.token), await connect(world.url, ben.token)];
  for (let n = 0; n < 4; n++)
    await call(ada, 'POST', `/rooms/${roomId}/messages`, { clientId: `${n}`, body: 'x' });
  const told = next(laptop, 'read');
  await Promise.all([3, 2, 4, 1].map((seq) => must(phone, 'read', { roomId, seq })));
  expect(await told).toMatchObject({ userId: ben.userId, roomId });
  expect((await call(ben, 'GET', `/rooms/${roomId}`)).body).toMatchObject({ readSeq: 4, unread: 0 });
});
