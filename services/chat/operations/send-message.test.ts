import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { newId } from '../../../shared/ids.ts';
import { openSchool, person, type School, startChat, type World } from '../test-school.ts';

setDefaultTimeout(60_000);

let world: World;
let school: School;
beforeAll(async () => {
  world = await startChat();
  school = await openSchool(world);
}, 60_000);
afterAll(() => world.stop());

const path = (roomId = school.roomId) => `/api/chat/rooms/${roomId}/messages`;
const post = (as: School['learner'], body: unknown, headers = {}) =>
  world.call('POST', path(), { as, body, headers });

describe('sending over HTTP', () => {
  test('gives the next number; the same clientId gives the first message again', async () => {
    const first = await post(school.learner, { clientId: 'a', body: 'One' });
    const second = await post(school.teacher, { clientId: 'a', body: 'Two' });
    const again = await post(school.learner, { clientId: 'a', body: 'Three' });
    expect([first.status, second.status, again.status]).toEqual([201, 201, 200]);
    expect(second.body.seq).toBe(first.body.seq + 1);
    expect(again.body).toEqual(first.body);
    expect(
      (await world.call('GET', `/api/chat/rooms/${school.roomId}`, { as: school.learner })).body.lastSeq,
    ).toBe(second.body.seq);
  });

  test('an Idempotency-Key gives the first reply again and refuses another body', async () => {
    const headers = { 'idempotency-key': 'once' };
    const first = await post(school.learner, { clientId: 'key', body: 'Once' }, headers);
    expect((await post(school.learner, { clientId: 'key', body: 'Once' }, headers)).body).toEqual(first.body);
    expect((await post(school.learner, { clientId: 'key', body: 'Twice' }, headers)).status).toBe(422);
  });

  test('mentions count for members only and are told without the author', async () => {
    const stranger = await person(world, 'Eve');
    const { teacher, learner } = school;
    const sent = await post(learner, {
      clientId: 'mention',
      body: `<@${teacher.userId}> <@${stranger.userId}> <@${learner.userId}> look`,
    });
    expect(sent.body.mentions).toEqual([teacher.userId, learner.userId]);
    const event = (await world.published('message.mentioned')).at(-1)!;
    expect(event).toMatchObject({
      subject: sent.body.id,
      actor: learner.userId,
      data: {
        mentioned: [teacher.userId],
        roomName: 'Algebra',
        authorName: 'Ben',
        courseId: school.courseId,
      },
    });
    expect((event.data as { excerpt: string }).excerpt).toStartWith('@Ada ');
  });

  test('an excerpt is at most 200 characters and halves no emoji', async () => {
    await post(school.learner, { clientId: 'long', body: '👨‍👩‍👧'.repeat(100) });
    const { excerpt } = (await world.published('message.sent')).at(-1)!.data as { excerpt: string };
    expect(excerpt.length).toBeLessThanOrEqual(200);
    expect(excerpt).toMatch(/^(👨‍👩‍👧)+…$/u);
  });

  test('a reply must be to a message of the room', async () => {
    const first = await post(school.learner, { clientId: 'r1', body: 'Question' });
    const answer = await post(school.teacher, { clientId: 'r2', body: 'Answer', replyTo: first.body.id });
    expect(answer.body.replyTo).toBe(first.body.id);
    expect((await post(school.teacher, { clientId: 'r3', body: 'x', replyTo: newId() })).body.code).toBe(
      'validation-failed',
    );
  });

  test("attachments: one's own files and the course's, not those of others", async () => {
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
    const own = file(school.learner.userId, null, 'private');
    const ofCourse = file(school.teacher.userId, school.courseId, 'course');
    const foreign = file(school.teacher.userId, null, 'private');
    const rejected = file(school.learner.userId, null, 'private');
    for (const data of [own, ofCourse, foreign, rejected]) await world.emit('file.uploaded', data);
    await world.emit('file.rejected', { ...rejected, reason: 'broken' });
    const attach = (clientId: string, { fileId }: { fileId: string }) =>
      post(school.learner, { clientId, body: '', attachments: [{ fileId }] });
    expect((await attach('f1', own)).body.attachments).toEqual([
      { fileId: own.fileId, name: 'Plan.pdf', type: 'application/pdf', size: 12 },
    ]);
    expect((await attach('f2', ofCourse)).status).toBe(201);
    expect((await attach('f3', foreign)).status).toBe(400);
    expect((await attach('f4', rejected)).status).toBe(400);
  });

  test('bad bodies are refused and nothing is stored', async () => {
    const before = (await world.call('GET', `/api/chat/rooms/${school.roomId}`, { as: school.learner })).body
      .lastSeq;
    for (const body of [
      '{',
      '[]',
      { body: 'x' },
      { clientId: 'x', body: ' ' },
      { clientId: 'x', body: 'x', more: 1 },
      { clientId: 'x', body: '\u0007' },
    ]) {
      const reply = await world.call('POST', path(), {
        as: school.learner,
        body,
        headers: { 'content-type': 'application/json' },
      });
      expect(reply.body).toMatchObject({ status: 400, code: 'validation-failed' });
    }
    expect(
      (await world.call('POST', path('nonsense'), { as: school.learner, body: { clientId: 'x', body: 'x' } }))
        .status,
    ).toBe(400);
    expect(
      (await world.call('POST', path(newId()), { as: school.learner, body: { clientId: 'x', body: 'x' } }))
        .status,
    ).toBe(404);
    expect(
      (await world.call('GET', `/api/chat/rooms/${school.roomId}`, { as: school.learner })).body.lastSeq,
    ).toBe(before);
  });

  test('too fast is 429 with Retry-After, and refused messages leave no gap', async () => {
    const { roomId, learner } = await openSchool(world);
    const bucket = { capacity: 100, perSecond: 20, cost: 100 };
    await world.deps.ephemeral.takeTokens(`chat:send:${learner.userId}:${roomId}`, bucket);
    const replies = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        world.call('POST', path(roomId), { as: learner, body: { clientId: `${n}`, body: 'x' } }),
      ),
    );
    const refused = replies.find(({ status }) => status === 429);
    expect(refused?.headers.get('retry-after')).toMatch(/^[1-9]/);
    expect(refused?.headers.get('ratelimit-limit')).toBe('100');
    const sent = replies.filter(({ status }) => status === 201).map(({ body }) => body.seq);
    expect(sent.sort((a, b) => a - b)).toEqual(sent.map((_, index) => index + 1));
  });
});

describe('history', () => {
  test('pages both ways in the order of seq, under the newest name of the author', async () => {
    const { roomId, learner, teacher } = await openSchool(world);
    for (let n = 1; n <= 7; n++)
      await world.call('POST', path(roomId), { as: learner, body: { clientId: `${n}`, body: `${n}` } });
    const page = async (query: string) =>
      (await world.call('GET', `${path(roomId)}${query}`, { as: teacher })).body.items?.map(
        (item: { seq: number }) => item.seq,
      );
    expect(await page('?limit=3')).toEqual([5, 6, 7]);
    expect(await page('?before=5&limit=3')).toEqual([2, 3, 4]);
    expect(await page('?after=2&limit=3')).toEqual([3, 4, 5]);
    expect(await page('?after=7')).toEqual([]);
    expect(await page('?after=1&before=3')).toBeUndefined();

    await world.emit('profile.updated', {
      userId: learner.userId,
      displayName: 'Benjamin',
      avatar: null,
      locale: 'en',
    });
    const { items } = (await world.call('GET', path(roomId), { as: teacher })).body;
    expect(items[0].author.displayName).toBe('Benjamin');
    const members = await world.call('GET', `/api/chat/rooms/${roomId}/members`, { as: learner });
    expect(
      members.body.items.map((member: { displayName: string; role: string }) => [
        member.displayName,
        member.role,
      ]),
    ).toEqual([
      ['Ada', 'owner'],
      ['Benjamin', 'member'],
    ]);
  });

  test('unread counts what came after the read mark, which never moves back', async () => {
    const { roomId, learner, teacher } = await openSchool(world);
    for (let n = 1; n <= 4; n++)
      await world.call('POST', path(roomId), { as: learner, body: { clientId: `${n}`, body: `${n}` } });
    const read = (seq: number) =>
      world.call('PUT', `/api/chat/rooms/${roomId}/read`, { as: teacher, body: { seq } });
    const room = async () => (await world.call('GET', `/api/chat/rooms/${roomId}`, { as: teacher })).body;
    expect(await room()).toMatchObject({ lastSeq: 4, readSeq: 0, unread: 4 });
    expect((await read(3)).status).toBe(204);
    await read(1);
    expect(await room()).toMatchObject({ readSeq: 3, unread: 1 });
    await read(99);
    expect(await room()).toMatchObject({ readSeq: 4, unread: 0 });
  });
});
