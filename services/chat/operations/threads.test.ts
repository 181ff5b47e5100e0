import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { Message, PinChange, ThreadChange } from '../../../shared/contracts/chat.ts';
import { newId } from '../../../shared/ids.ts';
import type { TestUser } from '../../../shared/testing/service.ts';
import {
  ask,
  connect,
  disconnectAll,
  enrolmentFacts,
  must,
  next,
  openGroup,
  openSchool,
  person,
  startChat,
  until,
  type World,
} from '../test-school.ts';
import { RoomView } from '../test-view.ts';

setDefaultTimeout(60_000);

let world: World;
beforeAll(async () => {
  world = await startChat(1000);
}, 60_000);
afterEach(disconnectAll);
afterAll(() => world.stop());

const call = (as: TestUser, method: string, path: string, body?: unknown) =>
  world.call(method, `/api/chat${path}`, { as, ...(body === undefined ? {} : { body }) });
const say = async (as: TestUser, roomId: string, body: string, more: object = {}): Promise<Message> => {
  const reply = await call(as, 'POST', `/rooms/${roomId}/messages`, { clientId: newId(), body, ...more });
  expect([reply.status, reply.body.code]).toEqual([201, undefined]);
  return reply.body;
};
const messageIn = async (as: TestUser, roomId: string, id: string): Promise<Message> =>
  (await call(as, 'GET', `/rooms/${roomId}/messages?limit=100`)).body.items.find(
    (one: Message) => one.id === id,
  );

describe('threads', () => {
  test('replies are counted, told live, listed in pages; a deleted one counts no more', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const question = await say(learner, roomId, 'Why?');
    expect(question).toMatchObject({ replyCount: 0, lastReplyAt: null });
    const client = await connect(world.url, learner.token);
    await must(client, 'room:join', { roomId });
    const told = next<ThreadChange>(client, 'thread');
    const replies: Message[] = [];
    for (let n = 0; n < 5; n++)
      replies.push(await say(teacher, roomId, `Because ${n}`, { replyTo: question.id }));
    expect(await told).toMatchObject({ roomId, messageId: question.id, replyCount: 1, seq: question.seq });

    const path = `/rooms/${roomId}/messages/${question.id}/replies`;
    const first = (await call(learner, 'GET', `${path}?limit=3`)).body;
    const rest = (await call(learner, 'GET', `${path}?limit=3&cursor=${first.nextCursor}`)).body;
    expect([...first.items, ...rest.items].map(({ id }: Message) => id)).toEqual(replies.map(({ id }) => id));
    expect(rest.nextCursor).toBeNull();

    const asked = await connect(world.url, teacher.token);
    const less = next<ThreadChange>(client, 'thread');
    await must(asked, 'message:delete', { messageId: replies[4]!.id });
    expect(await less).toMatchObject({ replyCount: 4, lastReplyAt: replies[3]!.createdAt });
    expect(await messageIn(learner, roomId, question.id)).toMatchObject({
      replyCount: 4,
      lastReplyAt: replies[3]!.createdAt,
    });
  });

  test('are not for strangers, nor by the id of a message elsewhere', async () => {
    const { roomId, learner } = await openSchool(world);
    const other = await openGroup(world, learner, []);
    const message = await say(learner, other, 'x');
    const stranger = await person(world, 'Eve');
    expect((await call(stranger, 'GET', `/rooms/${other}/messages/${message.id}/replies`)).status).toBe(404);
    expect((await call(learner, 'GET', `/rooms/${roomId}/messages/${message.id}/replies`)).status).toBe(404);
    expect((await call(learner, 'GET', `/rooms/${other}/messages/${newId()}/replies`)).status).toBe(404);
    expect((await call(learner, 'GET', `/rooms/${other}/messages/x/replies`)).status).toBe(400);
    for (const cursor of ['x', 'WyJ4Il0', 'W10', 'WzFlMzAwXQ', 'Wy0xXQ', 'WzAuNV0'])
      expect(
        (await call(learner, 'GET', `/rooms/${other}/messages/${message.id}/replies?cursor=${cursor}`))
          .status,
      ).toBe(400);
  });
});

describe('pins', () => {
  test('are set and taken away by moderators, told live, listed pinned last first', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const [one, two] = [await say(learner, roomId, 'One'), await say(learner, roomId, 'Two')];
    const pin = (as: TestUser, method: string, id: string) => call(as, method, `/rooms/${roomId}/pins/${id}`);
    expect((await pin(learner, 'PUT', one.id)).status).toBe(403);
    const client = await connect(world.url, learner.token);
    await must(client, 'room:join', { roomId });
    const told = next<PinChange>(client, 'pin');
    expect((await pin(teacher, 'PUT', one.id)).status).toBe(204);
    expect(await told).toMatchObject({ roomId, messageId: one.id, pinnedAt: expect.any(String) });
    await pin(teacher, 'PUT', two.id);
    await pin(teacher, 'PUT', two.id);
    const pinned = async () =>
      (await call(learner, 'GET', `/rooms/${roomId}/pins`)).body.items.map(({ body }: Message) => body);
    expect(await pinned()).toEqual(['Two', 'One']);
    const page = (await call(learner, 'GET', `/rooms/${roomId}/pins?limit=1`)).body;
    const rest = (await call(learner, 'GET', `/rooms/${roomId}/pins?limit=1&cursor=${page.nextCursor}`)).body;
    expect([page.items[0].body, rest.items[0].body, rest.nextCursor]).toEqual(['Two', 'One', null]);

    const gone = next<PinChange>(client, 'pin');
    await pin(teacher, 'DELETE', one.id);
    expect(await gone).toMatchObject({ messageId: one.id, pinnedAt: null });
    const asTeacher = await connect(world.url, teacher.token);
    await must(asTeacher, 'message:delete', { messageId: two.id });
    expect(await pinned()).toEqual([]);
    expect((await pin(teacher, 'PUT', two.id)).body.code).toBe('conflict');
    expect((await pin(teacher, 'PUT', newId())).status).toBe(404);
    const elsewhere = await openGroup(world, teacher, []);
    expect((await call(teacher, 'PUT', `/rooms/${elsewhere}/pins/${one.id}`)).status).toBe(404);
  });

  test('in a direct room both may', async () => {
    const { teacher, learner } = await openSchool(world);
    const { body: room } = await call(teacher, 'POST', '/rooms', {
      kind: 'direct',
      memberIds: [learner.userId],
    });
    const message = await say(teacher, room.id, 'Remember');
    expect((await call(learner, 'PUT', `/rooms/${room.id}/pins/${message.id}`)).status).toBe(204);
    const admin = await person(world, 'Root', 'admin');
    expect((await call(admin, 'DELETE', `/rooms/${room.id}/pins/${message.id}`)).status).toBe(404);
  });
});

describe('versions', () => {
  test('are kept for author and moderators, and go with the message', async () => {
    const { roomId, courseId, teacher, learner } = await openSchool(world);
    const classmate = await person(world, 'Eve');
    await world.emit('enrolment.created', enrolmentFacts(courseId, teacher, classmate));
    const client = await connect(world.url, learner.token);
    const { id } = await say(learner, roomId, 'Frist');
    for (const body of ['Fisrt', 'First']) await must(client, 'message:edit', { messageId: id, body });
    const history = (as: TestUser, query = '') => call(as, 'GET', `/messages/${id}/history${query}`);
    const bodies = async (as: TestUser, query = '') =>
      (await history(as, query)).body.items.map(({ body }: { body: string }) => body);
    expect(await bodies(learner)).toEqual(['Frist', 'Fisrt', 'First']);
    expect(await bodies(teacher)).toEqual(['Frist', 'Fisrt', 'First']);
    const { nextCursor } = (await history(teacher, '?limit=2')).body;
    expect(await bodies(teacher, `?limit=2&cursor=${nextCursor}`)).toEqual(['First']);
    expect((await history(classmate)).status).toBe(403);
    expect((await history(await person(world, 'Mallory'))).status).toBe(404);

    await must(client, 'message:delete', { messageId: id });
    expect(await bodies(teacher)).toEqual([]);
    const { rows } = {
      rows: await world.db.selectFrom('message_versions').selectAll().where('message_id', '=', id).execute(),
    };
    expect(rows).toEqual([]);
  });
});

describe('the whole room', () => {
  test('is mentioned by moderators; from others it is only text', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    expect((await say(learner, roomId, '<@room> look')).mentionsRoom).toBe(false);
    const before = (await world.published('message.sent')).length;
    const message = await say(teacher, roomId, `<@room> tomorrow off, <@${learner.userId}>`);
    expect(message).toMatchObject({ mentionsRoom: true, mentions: [learner.userId] });
    expect((await world.published('message.sent')).length).toBe(before + 1);
    const told = (await world.published('message.mentioned')).filter(({ subject }) => subject === message.id);
    expect(told.map(({ data }) => (data as { mentioned: string[] }).mentioned)).toEqual([[learner.userId]]);
    expect((told[0]!.data as { excerpt: string }).excerpt).toBe('@room tomorrow off, @Ben');
  });
});

describe('search', () => {
  test('finds words in the caller’s rooms only, newest first, in pages', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const secret = await openGroup(world, teacher, []);
    await say(teacher, secret, 'The heron is secret');
    for (let n = 1; n <= 5; n++) await say(n % 2 ? learner : teacher, roomId, `Heron number ${n} über Größe`);
    const find = async (as: TestUser, query: string) => {
      const reply = await call(as, 'GET', `/search?${query}`);
      expect([query, reply.status]).toEqual([query, 200]);
      return reply.body.items.map(({ body }: Message) => body);
    };
    expect(await find(learner, 'q=heron')).toEqual(
      [5, 4, 3, 2, 1].map((n) => `Heron number ${n} über Größe`),
    );
    expect((await find(teacher, 'q=heron')).length).toBe(6);
    expect(await find(learner, 'q=HERON+3')).toEqual(['Heron number 3 über Größe']);
    expect(await find(learner, 'q=größe+2')).toEqual(['Heron number 2 über Größe']);
    expect(await find(learner, `q=${encodeURIComponent('"number 4"')}`)).toEqual([
      'Heron number 4 über Größe',
    ]);
    expect((await find(learner, 'q=heron+-4')).length).toBe(4);
    expect(await find(learner, `q=heron&authorId=${teacher.userId}`)).toHaveLength(2);
    expect(await find(teacher, `q=heron&roomId=${secret}`)).toEqual(['The heron is secret']);
    expect((await call(learner, 'GET', `/search?q=heron&roomId=${secret}`)).status).toBe(404);

    const first = (await call(learner, 'GET', '/search?q=heron&limit=2')).body;
    const rest = (await call(learner, 'GET', `/search?q=heron&limit=100&cursor=${first.nextCursor}`)).body;
    expect([...first.items, ...rest.items]).toHaveLength(5);
    const third = (await find(learner, 'q=heron'))[2];
    const { createdAt } = (await call(learner, 'GET', `/rooms/${roomId}/messages`)).body.items[2];
    expect((await find(learner, `q=heron&from=${createdAt}`)).length).toBe(3);
    expect(await find(learner, `q=heron&to=${createdAt}`)).not.toContain(third);
  });

  test('never finds what is deleted or was edited away', async () => {
    const { roomId, learner } = await openSchool(world);
    const client = await connect(world.url, learner.token);
    const [gone, edited] = [
      await say(learner, roomId, 'platypus one'),
      await say(learner, roomId, 'platypus two'),
    ];
    await must(client, 'message:delete', { messageId: gone.id });
    await must(client, 'message:edit', { messageId: edited.id, body: 'echidna' });
    expect((await call(learner, 'GET', '/search?q=platypus')).body.items).toEqual([]);
    expect((await call(learner, 'GET', '/search?q=echidna')).body.items).toHaveLength(1);
  });

  test('takes any words for words, and refuses what is no query', async () => {
    const { learner } = await openSchool(world);
    for (const q of ["'", '"', '-', '&|!()', 'a:*', '\\', 'or', "'); drop table messages; --", '%', '🙂'])
      expect([q, (await call(learner, 'GET', `/search?q=${encodeURIComponent(q)}`)).status]).toEqual([
        q,
        200,
      ]);
    for (const query of [
      '',
      'q=',
      `q=${'x'.repeat(201)}`,
      'q=x&from=yesterday',
      'q=x&roomId=1',
      'q=x&cursor=abc',
      'q=x&more=1',
      'q=%00',
    ])
      expect([query, (await call(learner, 'GET', `/search?${query}`)).status]).toEqual([query, 400]);
    expect((await world.call('GET', '/api/chat/search?q=x')).status).toBe(401);
  });
});

describe('attachments', () => {
  const file = (ownerId: string, courseId: string | null, visibility: 'private' | 'course') => ({
    fileId: newId(),
    name: 'Plan.pdf',
    size: 12,
    type: 'application/pdf',
    sha256: 'x',
    visibility,
    courseId,
    ownerId,
  });

  test('that are deleted or rejected later are shown to nobody any more', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const [kept, deleted, rejected] = [1, 2, 3].map(() => file(learner.userId, null, 'private')) as [
      ReturnType<typeof file>,
      ReturnType<typeof file>,
      ReturnType<typeof file>,
    ];
    for (const data of [kept, deleted, rejected]) await world.emit('file.uploaded', data);
    const attachments = [kept, deleted, rejected].map(({ fileId }) => ({ fileId }));
    const { id } = await say(learner, roomId, 'Look', { attachments });
    const shown = async (as: TestUser) =>
      (await messageIn(as, roomId, id)).attachments.map(({ fileId }) => fileId);
    expect(await shown(teacher)).toEqual(attachments.map(({ fileId }) => fileId));
    const watching = await connect(world.url, teacher.token);
    const { lastChange } = await must(watching, 'room:join', { roomId });
    const told = next(watching, 'room:beat');
    await world.emit('file.deleted', deleted);
    expect(await told).toEqual({ roomId, lastSeq: 1, lastChange: lastChange + 1 });
    await world.emit('file.rejected', { ...rejected, reason: 'broken' });
    expect(await shown(teacher)).toEqual([kept.fileId]);
    expect(await shown(learner)).toEqual([kept.fileId]);
    const { changes } = await must(watching, 'room:join', { roomId, after: 1, changesAfter: lastChange });
    expect(changes.map((message) => message.attachments.length)).toEqual([1]);
  });

  test('of a course are shown elsewhere to who is in the course, as long as they are', async () => {
    const { courseId, teacher, learner } = await openSchool(world);
    const outsider = await person(world, 'Eve');
    const group = await openGroup(world, teacher, [learner, outsider]);
    const sheet = file(teacher.userId, courseId, 'course');
    await world.emit('file.uploaded', sheet);
    const [inside, outside] = [new RoomView(group, learner.userId), new RoomView(group, outsider.userId)];
    await inside.attach(await connect(world.url, learner.token));
    await outside.attach(await connect(world.url, outsider.token));
    const { id } = await say(teacher, group, 'Sheet', { attachments: [{ fileId: sheet.fileId }] });
    // Everybody ends with what reading over HTTP gives them.
    for (const [view, as, count] of [
      [inside, learner, 1],
      [outside, outsider, 0],
    ] as const) {
      await until(() => view.seq === 1 && view.change === 1);
      expect(view.messages).toEqual([await messageIn(as, group, id)]);
      expect(view.messages[0]!.attachments.length).toBe(count);
    }
    const shown = async (as: TestUser) => (await messageIn(as, group, id)).attachments.length;
    expect([await shown(teacher), await shown(learner), await shown(outsider)]).toEqual([1, 1, 0]);
    await world.emit('enrolment.cancelled', enrolmentFacts(courseId, teacher, learner));
    expect([await shown(teacher), await shown(learner)]).toEqual([1, 0]);
  });
});

test('4,000 characters are code points, and all of them survive as they are', async () => {
  const { roomId, learner } = await openSchool(world);
  const client = await connect(world.url, learner.token);
  const send = (body: string) => ask(client, 'message:send', { roomId, clientId: newId(), body });
  for (const body of [
    '😀'.repeat(4000),
    'x'.repeat(4000),
    'e\u0301שלום\u200f👨‍👩‍👧‍👦🇩🇪\u{1f3f4}\u{e0067}\u{e007f}नमस्ते'.repeat(100),
  ]) {
    const ack = await send(body);
    expect(ack.ok && ack.message.body === body).toBe(true);
  }
  expect(await send('😀'.repeat(4001))).toMatchObject({ ok: false, error: { code: 'validation-failed' } });
  expect(await send('x'.repeat(4001))).toMatchObject({ ok: false, error: { code: 'validation-failed' } });
});
