import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { Message, RoomSettings } from '../../../shared/contracts/chat.ts';
import { newId } from '../../../shared/ids.ts';
import { systemContext } from '../../../shared/service.ts';
import type { TestUser } from '../../../shared/testing/service.ts';
import {
  connect,
  disconnectAll,
  must,
  next,
  openGroup,
  openSchool,
  person,
  startChat,
  type World,
} from '../test-school.ts';
import { applyRetention } from './apply-retention.ts';

/** Retention and export. */

setDefaultTimeout(60_000);

let world: World;
beforeAll(async () => {
  world = await startChat(1000);
}, 60_000);
afterEach(disconnectAll);
afterAll(() => world.stop());

const call = (as: TestUser, method: string, path: string, body?: unknown) =>
  world.call(method, `/api/chat${path}`, { as, ...(body === undefined ? {} : { body }) });
const say = async (as: TestUser, roomId: string, body: string, more: object = {}): Promise<Message> =>
  (await call(as, 'POST', `/rooms/${roomId}/messages`, { clientId: newId(), body, ...more })).body;
const seqsIn = async (as: TestUser, roomId: string): Promise<number[]> =>
  (await call(as, 'GET', `/rooms/${roomId}/messages?limit=100`)).body.items.map(({ seq }: Message) => seq);
const age = (roomId: string, upTo: number, days: number) =>
  world.db
    .updateTable('messages')
    .set({ created_at: new Date(Date.now() - days * 86_400_000) })
    .where('room_id', '=', roomId)
    .where('seq', '<=', upTo)
    .execute();
/** The job as the service runs it, without anybody connected. */
const retain = async (): Promise<number> => {
  const silent = new Proxy({}, { get: () => () => {} });
  return applyRetention(systemContext(world.deps), { live: silent } as never);
};

describe('retention', () => {
  test('removes what is too old with all that hangs on it; numbers go on and have no gaps', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const client = await connect(world.url, learner.token);
    const old = await say(learner, roomId, 'Old heron');
    await must(client, 'message:edit', { messageId: old.id, body: 'Old grey heron' });
    await must(client, 'reaction:add', { messageId: old.id, emoji: '👍' });
    await call(teacher, 'PUT', `/rooms/${roomId}/pins/${old.id}`);
    for (let n = 2; n <= 6; n++)
      await say(n % 2 ? learner : teacher, roomId, `${n}`, n === 6 ? { replyTo: old.id } : {});
    await age(roomId, 4, 40);
    expect(await retain()).toBe(0);

    await call(teacher, 'PATCH', `/rooms/${roomId}`, { retentionDays: 30 });
    expect(await retain()).toBe(4);
    expect(await seqsIn(learner, roomId)).toEqual([5, 6]);
    expect((await call(learner, 'GET', `/rooms/${roomId}`)).body).toMatchObject({
      firstSeq: 5,
      lastSeq: 6,
      retentionDays: 30,
    });
    expect((await say(learner, roomId, '7')).seq).toBe(7);
    expect((await call(learner, 'GET', '/search?q=heron')).body.items).toEqual([]);
    expect((await call(learner, 'GET', `/rooms/${roomId}/pins`)).body.items).toEqual([]);
    expect((await call(learner, 'GET', `/messages/${old.id}/history`)).status).toBe(404);
    const joined = await must(client, 'room:join', { roomId, after: 0 });
    expect([joined.room.firstSeq, joined.messages.map(({ seq }) => seq)]).toEqual([5, [5, 6, 7]]);
    expect(await retain()).toBe(0);
  });

  test('empties a room without giving its numbers again, and unread counts what is there', async () => {
    const [ada, ben] = [await person(world, 'Ada'), await person(world, 'Ben')];
    const roomId = await openGroup(world, ada, [ben]);
    for (let n = 0; n < 3; n++) await say(ada, roomId, `${n}`);
    await call(ada, 'PATCH', `/rooms/${roomId}`, { retentionDays: 1 });
    await age(roomId, 2, 2);
    await retain();
    expect((await call(ben, 'GET', `/rooms/${roomId}`)).body).toMatchObject({ unread: 1, firstSeq: 3 });
    await age(roomId, 3, 2);
    await retain();
    expect(await seqsIn(ben, roomId)).toEqual([]);
    expect((await call(ben, 'GET', `/rooms/${roomId}`)).body).toMatchObject({
      unread: 0,
      firstSeq: 4,
      lastSeq: 3,
    });
    expect((await say(ada, roomId, 'New')).seq).toBe(4);
  });

  test('stops at the first message that is young enough, and is told to who is connected', async () => {
    const { roomId, teacher } = await openSchool(world);
    const client = await connect(world.url, teacher.token);
    await must(client, 'room:join', { roomId });
    for (let n = 0; n < 4; n++) await say(teacher, roomId, `${n}`);
    await age(roomId, 4, 9);
    await world.db
      .updateTable('messages')
      .set({ created_at: new Date() })
      .where('room_id', '=', roomId)
      .where('seq', '=', 2)
      .execute();
    const told = next<RoomSettings>(client, 'room:updated');
    await call(teacher, 'PATCH', `/rooms/${roomId}`, { retentionDays: 7 });
    expect(await told).toMatchObject({ retentionDays: 7, firstSeq: 1 });
    await Promise.all([retain(), retain()]);
    expect(await seqsIn(teacher, roomId)).toEqual([2, 3, 4]);
  });
});

describe('export', () => {
  const exported = async (as: TestUser, roomId: string) => {
    const reply = await call(as, 'GET', `/rooms/${roomId}/export`);
    return { ...reply, lines: String(reply.body).trim().split('\n') };
  };

  test('gives the owner every message in order, and says that it is whole', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const client = await connect(world.url, learner.token);
    const rows = Array.from({ length: 1_203 }, (_, n) => ({
      id: newId(),
      room_id: roomId,
      seq: n + 1,
      client_id: `${n}`,
      author_id: learner.userId,
      body: `Line ${n + 1} "שלום"\n👩‍🏫`,
      mentions: [],
      reply_to: null,
      attachments: [],
      created_at: new Date(),
      edited_at: null,
      deleted_at: null,
    }));
    for (let at = 0; at < rows.length; at += 500)
      await world.db
        .insertInto('messages')
        .values(rows.slice(at, at + 500))
        .execute();
    await world.db.updateTable('rooms').set({ last_seq: rows.length }).where('id', '=', roomId).execute();
    await must(client, 'message:delete', { messageId: rows[7]!.id });

    const { status, headers, lines } = await exported(teacher, roomId);
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('application/x-ndjson; charset=utf-8');
    expect(headers.get('content-disposition')).toContain('attachment');
    const values = lines.map((line) => JSON.parse(line));
    expect(values[0]).toMatchObject({ type: 'room', room: { id: roomId, name: 'Algebra' } });
    expect(values.at(-1)).toEqual({ type: 'end', messages: 1_203, lastSeq: 1_203 });
    const messages = values.slice(1, -1).map(({ message }) => message as Message);
    expect(messages.map(({ seq }) => seq)).toEqual(rows.map(({ seq }) => seq));
    expect(messages[7]).toMatchObject({ body: '', deletedAt: expect.any(String) });
    expect(messages[8]!.body).toBe(rows[8]!.body);
  });

  test('is for the owner only; in a direct room for both', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const stranger = await person(world, 'Eve');
    const admin = await person(world, 'Root', 'admin');
    expect((await exported(learner, roomId)).status).toBe(403);
    expect((await exported(stranger, roomId)).status).toBe(404);
    expect((await exported(admin, roomId)).status).toBe(200);
    const { body: direct } = await call(teacher, 'POST', '/rooms', {
      kind: 'direct',
      memberIds: [learner.userId],
    });
    expect((await exported(learner, direct.id)).lines).toHaveLength(2);
    expect((await exported(admin, direct.id)).status).toBe(404);
    const actions = (await call(teacher, 'GET', `/rooms/${roomId}/audit`)).body.items.map(
      ({ action }: { action: string }) => action,
    );
    expect(actions).toEqual(['exported']);
  });

  test('that nobody reads any further stops', async () => {
    const { roomId, teacher } = await openSchool(world);
    const response = await fetch(`${world.url}/api/chat/rooms/${roomId}/export`, {
      headers: teacher.headers,
    });
    await response.body!.cancel();
    expect((await exported(teacher, roomId)).lines).toHaveLength(2);
  });
});
