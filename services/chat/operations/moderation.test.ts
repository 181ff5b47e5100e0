import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { newId } from '../../../shared/ids.ts';
import { startService } from '../../../shared/service.ts';
import type { TestUser } from '../../../shared/testing/service.ts';
import { createChat } from '../service.ts';
import {
  ask,
  type Client,
  connect,
  courseFacts,
  disconnectAll,
  enrolmentFacts,
  must,
  next,
  openGroup,
  openSchool,
  person,
  type School,
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
const post = (as: TestUser, roomId: string, body: string, clientId = newId()) =>
  call(as, 'POST', `/rooms/${roomId}/messages`, { clientId, body });
/** The code of the refusal, or the status of what went well. */
const say = async (as: TestUser, roomId: string, body = 'x'): Promise<string | number> => {
  const reply = await post(as, roomId, body);
  return reply.body.code ?? reply.status;
};
const send = async (client: Client, roomId: string, body = 'x'): Promise<string> => {
  const ack = await ask(client, 'message:send', { roomId, clientId: newId(), body });
  return ack.ok ? 'ok' : ack.error.code;
};
const audited = async (as: TestUser, roomId: string): Promise<string[]> =>
  (await call(as, 'GET', `/rooms/${roomId}/audit?limit=100`)).body.items.map(
    ({ action }: { action: string }) => action,
  );

/** For mutes and bans. */
const anHourLater = async (roomId: string): Promise<void> => {
  await world.db
    .updateTable('sanctions')
    .set({ until: new Date(Date.now() - 1_000) })
    .where('room_id', '=', roomId)
    .execute();
};

describe('a ban', () => {
  test('takes open sockets out on every process within a second, and keeps its target out', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const twin = await startService(await createChat(world.deps), world.deps, {
      hostname: '127.0.0.1',
      port: 0,
    });
    try {
      const ada = await connect(world.url, teacher.token);
      const sockets = [
        await connect(world.url, learner.token),
        await connect(`http://127.0.0.1:${twin.port}`, learner.token),
      ];
      for (const socket of sockets) await must(socket, 'room:join', { roomId });
      const told = Promise.all(sockets.map((socket) => next(socket, 'room:left')));
      const banned = await call(teacher, 'PUT', `/rooms/${roomId}/bans/${learner.userId}`, {
        expiresIn: 3600,
        reason: 'Shouting',
      });
      expect(banned.body).toMatchObject({
        user: { id: learner.userId, displayName: 'Ben' },
        kind: 'ban',
        reason: 'Shouting',
        by: { id: teacher.userId },
      });
      expect(await told).toEqual([1, 2].map(() => ({ roomId, reason: 'banned', until: banned.body.until })));
      let heard = 0;
      for (const socket of sockets) socket.on('message', () => heard++);
      expect(await send(ada, roomId, 'Peace')).toBe('ok');
      for (const socket of sockets) {
        expect(await send(socket, roomId)).toBe('banned');
        for (const [event, input] of [
          ['room:join', { roomId }],
          ['typing', { roomId }],
          ['read', { roomId, seq: 1 }],
          ['presence:list', { roomId }],
        ] as const) {
          expect(await ask(socket, event, input)).toMatchObject({ ok: false, error: { code: 'banned' } });
        }
      }
      await until(async () => (await must(ada, 'room:join', { roomId })).lastSeq === 1);
      expect(heard).toBe(0);
    } finally {
      disconnectAll();
      await twin.stop(1_000);
    }
    expect((await call(learner, 'GET', `/rooms/${roomId}/messages`)).body.code).toBe('banned');
    expect((await call(learner, 'GET', '/rooms')).body.items).toEqual([]);
  });

  test('is enforced where the word of it was lost: processes look for themselves', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const ben = await connect(world.url, learner.token);
    await must(ben, 'room:join', { roomId });
    const told = next(ben, 'room:left');
    // As another process would, whose word over the socket adapter got lost.
    await world.db.deleteFrom('members').where('user_id', '=', learner.userId).execute();
    await world.db
      .insertInto('departures')
      .values({ room_id: roomId, user_id: learner.userId, reason: 'banned' })
      .execute();
    expect(await told).toMatchObject({ roomId, reason: 'banned' });
    let heard = 0;
    ben.on('message', () => heard++);
    expect(await say(teacher, roomId)).toBe(201);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(heard).toBe(0);
  });

  test('outlasts changes of course and enrolment, and gives the membership back when it is lifted', async () => {
    const { roomId, courseId, teacher, learner } = await openSchool(world);
    await call(teacher, 'PUT', `/rooms/${roomId}/bans/${learner.userId}`, {});
    await world.emit('course.updated', courseFacts(courseId, teacher, 'Renamed'));
    await world.emit('enrolment.cancelled', enrolmentFacts(courseId, teacher, learner));
    await world.emit('enrolment.created', enrolmentFacts(courseId, teacher, learner));
    expect(await say(learner, roomId)).toBe('banned');
    expect((await call(teacher, 'DELETE', `/rooms/${roomId}/bans/${learner.userId}`)).status).toBe(204);
    expect(await say(learner, roomId)).toBe(201);
    expect((await call(teacher, 'DELETE', `/rooms/${roomId}/bans/${learner.userId}`)).status).toBe(204);
    expect(await audited(teacher, roomId)).toEqual(['unbanned', 'banned']);
  });

  test('that expires ends by itself; who left the course meanwhile stays out', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    await call(teacher, 'PUT', `/rooms/${roomId}/bans/${learner.userId}`, { expiresIn: 3600 });
    expect(await say(learner, roomId)).toBe('banned');
    await anHourLater(roomId);
    await until(async () => (await say(learner, roomId)) === 201, 6_000);

    const other = await openSchool(world);
    await call(other.teacher, 'PUT', `/rooms/${other.roomId}/bans/${other.learner.userId}`, {
      expiresIn: 3600,
    });
    await world.emit('enrolment.cancelled', enrolmentFacts(other.courseId, other.teacher, other.learner));
    await anHourLater(other.roomId);
    await until(async () => (await say(other.learner, other.roomId)) === 'not-found', 6_000);
  });

  test('keeps people out of groups by every door', async () => {
    const [ada, ben] = [await person(world, 'Ada'), await person(world, 'Ben')];
    const roomId = await openGroup(world, ada, []);
    await call(ada, 'POST', `/rooms/${roomId}/invitations`, { userIds: [ben.userId] });
    const [invitation] = (await call(ben, 'GET', '/invitations')).body.items;
    await call(ada, 'PUT', `/rooms/${roomId}/bans/${ben.userId}`, {});
    expect((await call(ben, 'POST', `/invitations/${invitation.id}/accept`)).status).toBe(404);
    const members = { memberIds: [ben.userId] };
    expect((await call(ada, 'POST', `/rooms/${roomId}/members`, members)).body.code).toBe('conflict');
    const userIds = [ben.userId];
    expect((await call(ada, 'POST', `/rooms/${roomId}/invitations`, { userIds })).body.code).toBe('conflict');
    await call(ada, 'DELETE', `/rooms/${roomId}/bans/${ben.userId}`);
    expect((await call(ben, 'GET', `/rooms/${roomId}`)).status).toBe(404);
    expect((await call(ada, 'POST', `/rooms/${roomId}/members`, members)).status).toBe(201);
  });
});

describe('who may moderate whom', () => {
  test('moderators act on members, owners on moderators, administrators on all, nobody on himself', async () => {
    const [ada, ben, eve, dan] = (await Promise.all(
      ['Ada', 'Ben', 'Eve', 'Dan'].map((name) => person(world, name)),
    )) as [TestUser, TestUser, TestUser, TestUser];
    const admin = await person(world, 'Root', 'admin');
    const stranger = await person(world, 'Mallory');
    const roomId = await openGroup(world, ada, [ben, eve, dan]);
    for (const one of [ben, eve])
      await call(ada, 'PATCH', `/rooms/${roomId}/members/${one.userId}`, { role: 'moderator' });
    const mute = async (as: TestUser, target: TestUser) =>
      (await call(as, 'PUT', `/rooms/${roomId}/mutes/${target.userId}`, { expiresIn: 60 })).status;
    expect(await mute(dan, eve)).toBe(403);
    expect(await mute(stranger, dan)).toBe(404);
    expect(await mute(ben, dan)).toBe(200);
    expect(await mute(ben, eve)).toBe(403);
    expect(await mute(ben, ada)).toBe(403);
    expect(await mute(ben, ben)).toBe(403);
    expect(await mute(ada, ben)).toBe(200);
    expect(await mute(admin, ada)).toBe(200);
    expect((await call(ada, 'PUT', `/rooms/${roomId}/bans/${newId()}`, {})).status).toBe(404);
    expect((await call(ben, 'DELETE', `/rooms/${roomId}/mutes/${ben.userId}`)).status).toBe(403);
    for (const path of ['audit', 'sanctions', 'reports', 'held', 'filter-words', 'invitations']) {
      const statuses = await Promise.all(
        [ada, admin, dan, stranger].map(
          async (as) => (await call(as, 'GET', `/rooms/${roomId}/${path}`)).status,
        ),
      );
      expect([path, ...statuses]).toEqual([path, 200, 200, 403, 404]);
    }
    for (const body of [
      { expiresIn: 0 },
      { expiresIn: 1.5 },
      { expiresIn: 1e12 },
      { reason: 'x'.repeat(501) },
      { until: 'x' },
      [],
    ])
      expect((await call(ada, 'PUT', `/rooms/${roomId}/mutes/${dan.userId}`, body)).status).toBe(400);
  });

  test('nobody in a direct room but by report', async () => {
    const { teacher, learner } = await openSchool(world);
    const admin = await person(world, 'Root', 'admin');
    const { body: room } = await call(teacher, 'POST', '/rooms', {
      kind: 'direct',
      memberIds: [learner.userId],
    });
    expect((await call(teacher, 'PUT', `/rooms/${room.id}/bans/${learner.userId}`, {})).status).toBe(403);
    expect((await call(admin, 'GET', `/rooms/${room.id}/audit`)).status).toBe(404);
    const insult = await post(learner, room.id, 'An insult');
    await call(teacher, 'POST', `/messages/${insult.body.id}/reports`, { reason: 'Insult' });
    const { items } = (await call(admin, 'GET', '/reports?limit=100')).body;
    const report = items.find(({ messageId }: { messageId: string }) => messageId === insult.body.id);
    expect(report).toMatchObject({
      body: 'An insult',
      author: { displayName: 'Ben' },
      reporter: { displayName: 'Ada' },
    });
    expect(
      (await call(teacher, 'POST', `/reports/${report.id}/decision`, { decision: 'delete' })).status,
    ).toBe(403);
    const decided = await call(admin, 'POST', `/reports/${report.id}/decision`, { decision: 'delete' });
    expect(decided.body).toMatchObject({ state: 'deleted', body: '' });
    expect((await call(teacher, 'GET', `/rooms/${room.id}/messages`)).body.items[0]).toMatchObject({
      body: '',
      deletedAt: expect.any(String),
    });
  });
});

describe('silence', () => {
  test('a mute holds for sending, editing, reacting and typing, until it ends', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const ben = await connect(world.url, learner.token);
    const { message } = await must(ben, 'message:send', { roomId, clientId: newId(), body: 'Before' });
    await call(teacher, 'PUT', `/rooms/${roomId}/mutes/${learner.userId}`, { expiresIn: 3600 });
    for (const [event, input] of [
      ['message:send', { roomId, clientId: newId(), body: 'x' }],
      ['message:edit', { messageId: message.id, body: 'x' }],
      ['reaction:add', { messageId: message.id, emoji: '👍' }],
      ['typing', { roomId }],
    ] as const) {
      expect([event, await ask(ben, event, input)]).toMatchObject([
        event,
        { ok: false, error: { code: 'muted', retryAfter: expect.any(Number) } },
      ]);
    }
    await must(ben, 'room:join', { roomId });
    expect((await post(learner, roomId, 'x')).headers.get('retry-after')).toMatch(/^3[56]\d\d$/);
    await anHourLater(roomId);
    await until(async () => (await send(ben, roomId)) === 'ok', 6_000);
    await call(teacher, 'PUT', `/rooms/${roomId}/mutes/${learner.userId}`, {});
    expect(await send(ben, roomId)).toBe('muted');
    expect((await call(teacher, 'GET', `/rooms/${roomId}/sanctions`)).body.items).toMatchObject([
      { user: { id: learner.userId }, kind: 'mute', until: null },
    ]);
    await call(teacher, 'DELETE', `/rooms/${roomId}/mutes/${learner.userId}`);
    expect(await send(ben, roomId)).toBe('ok');
  });

  test('a locked room is for moderators only', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    await call(teacher, 'PATCH', `/rooms/${roomId}`, { locked: true });
    expect([await say(learner, roomId), await say(teacher, roomId)]).toEqual(['room-locked', 201]);
    await call(teacher, 'PATCH', `/rooms/${roomId}/members/${learner.userId}`, { role: 'moderator' });
    expect(await say(learner, roomId)).toBe(201);
  });

  test('slow mode lets members write once in its time, many at once too; moderators go on', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    await call(teacher, 'PATCH', `/rooms/${roomId}`, { slowModeSeconds: 3600 });
    const at_once = await Promise.all(Array.from({ length: 6 }, () => say(learner, roomId)));
    expect(at_once.sort()).toEqual([201, ...Array.from({ length: 5 }, () => 'slow-mode')]);
    const refused = await post(learner, roomId, 'x');
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(3_000);
    for (let n = 0; n < 3; n++) expect(await say(teacher, roomId)).toBe(201);
    // What was sent before is the same message again, whatever the mode.
    const clientId = newId();
    await call(teacher, 'PATCH', `/rooms/${roomId}`, { slowModeSeconds: 0 });
    const first = await post(learner, roomId, 'Once', clientId);
    await call(teacher, 'PATCH', `/rooms/${roomId}`, { slowModeSeconds: 3600 });
    expect((await post(learner, roomId, 'Once', clientId)).body.id).toBe(first.body.id);
    const { items } = (await call(teacher, 'GET', `/rooms/${roomId}/messages?limit=100`)).body;
    expect(items.map(({ seq }: { seq: number }) => seq)).toEqual(
      items.map((_: unknown, index: number) => index + 1),
    );
  });

  test('kicked is out of the group at once, on open sockets too, and may be asked in again', async () => {
    const [ada, ben] = [await person(world, 'Ada'), await person(world, 'Ben')];
    const roomId = await openGroup(world, ada, [ben]);
    const socket = await connect(world.url, ben.token);
    await must(socket, 'room:join', { roomId });
    const left = next(socket, 'room:left');
    expect((await call(ada, 'DELETE', `/rooms/${roomId}/members/${ben.userId}`)).status).toBe(204);
    expect(await left).toEqual({ roomId, reason: 'kicked', until: null });
    expect(await send(socket, roomId)).toBe('not-found');
    expect((await call(ada, 'POST', `/rooms/${roomId}/members`, { memberIds: [ben.userId] })).status).toBe(
      201,
    );
    expect(await audited(ada, roomId)).toEqual(['members-added', 'kicked']);
  });
});

describe('the word filter', () => {
  const addWord = (as: TestUser, roomId: string, word: string, action: string) =>
    call(as, 'POST', `/rooms/${roomId}/filter-words`, { word, action });

  test('refuses by HTTP, by socket and in edits, whatever the disguise', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    expect((await addWord(teacher, roomId, 'scoundrel', 'refuse')).status).toBe(201);
    const ben = await connect(world.url, learner.token);
    for (const text of [
      'You scoundrel!',
      'ЅСОUNDRЕL',
      's\u200bcoundrel',
      'ｓｃｏｕｎｄｒｅｌ',
      's.c.o.u.n.d.r.e.l',
      'sc0undr3l',
    ]) {
      expect([text, await say(learner, roomId, text)]).toEqual([text, 'content-refused']);
      expect([text, await send(ben, roomId, text)]).toEqual([text, 'content-refused']);
    }
    expect(await say(teacher, roomId, 'scoundrel')).toBe('content-refused');
    const { message } = await must(ben, 'message:send', { roomId, clientId: newId(), body: 'Polite' });
    expect(await ask(ben, 'message:edit', { messageId: message.id, body: 'scoundrel' })).toMatchObject({
      ok: false,
      error: { code: 'content-refused' },
    });
    expect(JSON.stringify((await post(learner, roomId, 'scoundrel')).body)).not.toContain('scoundrel');
  });

  test('of one room holds in that room; the platform’s is kept by administrators and holds everywhere', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const admin = await person(world, 'Root', 'admin');
    const elsewhere = await openGroup(world, learner, []);
    const own = (await addWord(teacher, roomId, 'wombat', 'refuse')).body;
    expect([await say(learner, roomId, 'wombat'), await say(learner, elsewhere, 'wombat')]).toEqual([
      'content-refused',
      201,
    ]);
    expect((await call(teacher, 'POST', '/filter-words', { word: 'quokka', action: 'refuse' })).status).toBe(
      403,
    );
    const word = (await call(admin, 'POST', '/filter-words', { word: 'quokka', action: 'refuse' })).body;
    expect(await say(learner, elsewhere, 'quokka')).toBe('content-refused');
    expect((await call(admin, 'GET', '/filter-words')).body.items).toMatchObject([
      { id: word.id, roomId: null },
    ]);
    expect((await call(teacher, 'GET', `/rooms/${roomId}/filter-words`)).body.items).toMatchObject([
      { id: own.id },
    ]);
    expect((await call(admin, 'DELETE', `/filter-words/${own.id}`)).status).toBe(404);
    expect((await call(teacher, 'DELETE', `/rooms/${roomId}/filter-words/${word.id}`)).status).toBe(404);
    expect((await call(admin, 'DELETE', `/filter-words/${word.id}`)).status).toBe(204);
    expect((await call(teacher, 'DELETE', `/rooms/${roomId}/filter-words/${own.id}`)).status).toBe(204);
    expect([await say(learner, roomId, 'wombat quokka'), await say(learner, elsewhere, 'quokka')]).toEqual([
      201, 201,
    ]);
    for (const body of [
      { word: '', action: 'refuse' },
      { word: '***', action: 'refuse' },
      { word: 'a', action: 'burn' },
      { word: 'a\nb', action: 'refuse' },
      { word: 'a' },
    ])
      expect((await addWord(teacher, roomId, body.word, (body as { action: string }).action)).status).toBe(
        400,
      );
  });

  test('a new word is known to every process within a second', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const twin = await startService(await createChat(world.deps), world.deps, {
      hostname: '127.0.0.1',
      port: 0,
    });
    try {
      const ben = await connect(`http://127.0.0.1:${twin.port}`, learner.token);
      expect(await send(ben, roomId, 'numbat')).toBe('ok');
      await addWord(teacher, roomId, 'numbat', 'refuse');
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      expect(await send(ben, roomId, 'numbat')).toBe('content-refused');
    } finally {
      disconnectAll();
      await twin.stop(1_000);
    }
  });

  test('holds for review: unseen until a moderator lets it through, once, under its client id', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    await addWord(teacher, roomId, 'dubious', 'review');
    const clientId = newId();
    const held = await post(learner, roomId, 'Something dubious', clientId);
    expect([held.status, held.body]).toMatchObject([202, { held: true, clientId }]);
    expect((await post(learner, roomId, 'Something dubious', clientId)).status).toBe(202);
    const ben = await connect(world.url, learner.token);
    expect(await send(ben, roomId, 'dubious too')).toBe('held-for-review');
    expect(await say(teacher, roomId, 'A moderator’s dubious word')).toBe(201);
    expect((await call(learner, 'GET', `/rooms/${roomId}/messages`)).body.items).toHaveLength(1);

    const queue = async () => (await call(teacher, 'GET', `/rooms/${roomId}/held`)).body.items;
    const [first, second] = await queue();
    expect(await queue()).toHaveLength(2);
    expect(first).toMatchObject({
      body: 'Something dubious',
      clientId,
      word: 'dubious',
      author: { displayName: 'Ben' },
    });
    expect((await call(learner, 'POST', `/held/${first.id}/approve`)).status).toBe(403);
    expect((await call(await person(world, 'Eve'), 'POST', `/held/${first.id}/approve`)).status).toBe(404);
    await must(ben, 'room:join', { roomId });
    const seen = next<{ body: string }>(ben, 'message');
    const [one, two] = await Promise.all(
      [1, 2].map(() => call(teacher, 'POST', `/held/${first.id}/approve`)),
    );
    expect([one!.status, two!.status].sort()).toEqual([201, 404]);
    expect(await seen).toMatchObject({
      seq: 2,
      clientId,
      body: 'Something dubious',
      author: { id: learner.userId },
    });
    const again = await post(learner, roomId, 'Something dubious', clientId);
    expect([again.status, again.body.seq]).toEqual([200, 2]);
    expect((await call(teacher, 'POST', `/held/${second.id}/reject`)).status).toBe(204);
    expect(await queue()).toEqual([]);
    expect(await audited(teacher, roomId)).toEqual(['held-rejected', 'held-approved', 'word-added']);
  });

  test('holds with an Idempotency-Key too', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    await addWord(teacher, roomId, 'dubious', 'review');
    const once = () =>
      world.call('POST', `/api/chat/rooms/${roomId}/messages`, {
        as: learner,
        headers: { 'idempotency-key': 'held' },
        body: { clientId: 'c', body: 'dubious' },
      });
    expect([(await once()).status, (await once()).status]).toEqual([202, 202]);
    expect((await call(teacher, 'GET', `/rooms/${roomId}/held`)).body.items).toHaveLength(1);
  });
});

describe('reports', () => {
  let school: School;
  beforeAll(async () => {
    school = await openSchool(world);
  });

  test('come to the room’s moderators, once from each, and are decided together', async () => {
    const { roomId, courseId, teacher, learner } = school;
    const eve = await person(world, 'Eve');
    await world.emit('enrolment.created', enrolmentFacts(courseId, teacher, eve));
    const message = (await post(learner, roomId, 'Rude')).body;
    const report = (as: TestUser, reason = 'Rude words') =>
      call(as, 'POST', `/messages/${message.id}/reports`, { reason });
    const first = await report(eve);
    expect([first.status, (await report(eve)).status]).toEqual([201, 200]);
    expect((await report(teacher)).status).toBe(201);
    expect((await report(await person(world, 'Mallory'))).status).toBe(404);
    for (const body of [
      {},
      { reason: ' ' },
      { reason: 'x'.repeat(501) },
      { reason: 'x', messageId: message.id },
    ])
      expect((await call(eve, 'POST', `/messages/${message.id}/reports`, body)).status).toBe(400);
    const open = async (state = 'open') =>
      (await call(teacher, 'GET', `/rooms/${roomId}/reports?state=${state}`)).body.items;
    expect(await open()).toMatchObject([
      {
        messageId: message.id,
        body: 'Rude',
        reporter: { displayName: 'Eve' },
        reason: 'Rude words',
        state: 'open',
      },
      { reporter: { displayName: 'Ada' } },
    ]);
    const decide = (as: TestUser, decision: string) =>
      call(as, 'POST', `/reports/${first.body.id}/decision`, { decision });
    expect((await decide(eve, 'dismiss')).status).toBe(403);
    expect((await decide(teacher, 'burn')).status).toBe(400);
    expect((await decide(teacher, 'dismiss')).body.state).toBe('dismissed');
    expect((await decide(teacher, 'delete')).body.code).toBe('conflict');
    expect(await open()).toEqual([]);
    expect(await open('dismissed')).toHaveLength(2);
    expect((await call(eve, 'GET', `/rooms/${roomId}/reports`)).status).toBe(403);
    expect((await call(teacher, 'GET', '/reports')).status).toBe(403);
  });

  test('upheld delete the message for everybody, live', async () => {
    const { roomId, teacher, learner } = school;
    const message = (await post(learner, roomId, 'Very rude')).body;
    const client = await connect(world.url, learner.token);
    await must(client, 'room:join', { roomId });
    const { body } = await call(teacher, 'POST', `/messages/${message.id}/reports`, { reason: 'Rude' });
    const gone = next<{ id: string; body: string }>(client, 'message:deleted');
    await call(teacher, 'POST', `/reports/${body.id}/decision`, { decision: 'delete' });
    expect(await gone).toMatchObject({ id: message.id, body: '' });
    const entries = (await call(teacher, 'GET', `/rooms/${roomId}/audit`)).body.items;
    expect(entries.slice(0, 2)).toMatchObject([
      { action: 'report-upheld', target: { id: learner.userId }, messageId: message.id, reason: 'Rude' },
      { action: 'message-deleted', actor: { id: teacher.userId } },
    ]);
  });
});

test('the audit list comes in pages, newest first', async () => {
  const { roomId, teacher } = await openSchool(world);
  for (let n = 1; n <= 5; n++) await call(teacher, 'PATCH', `/rooms/${roomId}`, { slowModeSeconds: n });
  const first = (await call(teacher, 'GET', `/rooms/${roomId}/audit?limit=2`)).body;
  const rest = (await call(teacher, 'GET', `/rooms/${roomId}/audit?cursor=${first.nextCursor}`)).body;
  const seconds = [...first.items, ...rest.items].map(({ details }) => details.slowModeSeconds);
  expect(seconds).toEqual([5, 4, 3, 2, 1]);

  const admin = await person(world, 'Root', 'admin');
  await call(admin, 'POST', '/filter-words', { word: 'dugong', action: 'review' });
  const anywhere = (await call(admin, 'GET', '/audit?limit=2')).body.items;
  expect(anywhere).toMatchObject([
    { roomId: null, action: 'word-added', details: { word: 'dugong', action: 'review' } },
    { roomId, action: 'room-changed', actor: { displayName: 'Ada' } },
  ]);
  expect((await call(teacher, 'GET', '/audit')).status).toBe(403);
});
