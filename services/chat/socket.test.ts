import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { announceRevoked, markRevoked } from '../../shared/auth/revocations.ts';
import type { Message, ReactionChange } from '../../shared/contracts/chat.ts';
import { newId } from '../../shared/ids.ts';
import { startService } from '../../shared/service.ts';
import { createChat } from './service.ts';
import {
  ask,
  connect,
  disconnectAll,
  enrolmentFacts,
  must,
  next,
  openSchool,
  person,
  type School,
  startChat,
  until,
  type World,
} from './test-school.ts';

setDefaultTimeout(60_000);

let world: World;
let school: School;
beforeAll(async () => {
  world = await startChat(1000);
  school = await openSchool(world);
}, 60_000);
afterEach(disconnectAll);
afterAll(() => world.stop());

const send = (clientId: string, body: string, roomId = school.roomId) => ({ roomId, clientId, body });

describe('connecting', () => {
  test('is refused without, with a forged and with an expired token, by code', async () => {
    const refusal = (token?: string) => connect(world.url, token).catch((error) => error.data);
    expect(await refusal()).toMatchObject({ code: 'unauthenticated' });
    expect(await refusal('nonsense')).toMatchObject({ code: 'unauthenticated' });
    expect(await refusal(`${school.learner.token.slice(0, -4)}AAAA`)).toMatchObject({
      code: 'unauthenticated',
    });
    const late = await world.signIn({ expiresIn: -60 });
    expect(await refusal(late.token)).toMatchObject({ code: 'token-expired' });
  });

  test('of one person is bounded; others, and who closes one, come in', async () => {
    const small = await startChat(0.03);
    try {
      const user = await person(small, 'Many');
      const open = [
        await connect(small.url, user.token),
        await connect(small.url, user.token, '/notifications'),
        await connect(small.url, user.token),
      ];
      const refusal = await connect(small.url, user.token).catch((error) => error.data);
      expect(refusal).toMatchObject({ code: 'rate-limited', retryAfter: 30 });
      expect(refusal.detail).toContain('open sockets');
      await connect(small.url, (await person(small, 'Other')).token);
      open[0]!.disconnect();
      await until(() =>
        connect(small.url, user.token).then(
          () => true,
          () => false,
        ),
      );
    } finally {
      disconnectAll();
      await small.stop();
    }
  });

  test('by long polling gets a clear refusal', async () => {
    const reply = await world.call('GET', '/socket.io/?EIO=4&transport=polling');
    expect(reply.status).toBe(400);
    expect(reply.body.detail).toContain('WebSocket');
  });
});

describe('talking', () => {
  test('both see each message once, in order, with ack and number', async () => {
    const ada = await connect(world.url, school.teacher.token);
    const ben = await connect(world.url, school.learner.token);
    const joined = await must(ada, 'room:join', { roomId: school.roomId });
    await must(ben, 'room:join', { roomId: school.roomId });
    const seen: Record<string, Message[]> = { ada: [], ben: [] };
    ada.on('message', (message) => seen.ada!.push(message));
    ben.on('message', (message) => seen.ben!.push(message));

    const first = await must(ben, 'message:send', send('talk-1', '  Hello Ada 👩‍🏫 שלום e\u0301  '));
    const second = await must(ada, 'message:send', send('talk-2', 'Hello Ben'));
    const again = await must(ben, 'message:send', send('talk-1', 'something else'));

    expect(first.message.seq).toBe(joined.lastSeq + 1);
    expect(second.message.seq).toBe(joined.lastSeq + 2);
    expect(first.message.body).toBe('Hello Ada 👩‍🏫 שלום e\u0301');
    expect(first.message.author).toEqual({ id: school.learner.userId, displayName: 'Ben' });
    expect(again.message).toEqual(first.message);
    await until(() => seen.ada!.length >= 2 && seen.ben!.length >= 2);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(seen.ada).toEqual([first.message, second.message]);
    expect(seen.ben).toEqual([first.message, second.message]);
  });

  test('2,000 sends by four sockets at once: no gaps, the same order for everybody', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const senders = await Promise.all(
      [teacher, learner, teacher, learner].map(({ token }) => connect(world.url, token)),
    );
    const listener = await connect(world.url, learner.token);
    const seen: number[] = [];
    listener.on('message', (message) => seen.push(message.seq));
    await must(listener, 'room:join', { roomId });
    const sent = await Promise.all(
      senders.flatMap((client, who) =>
        Array.from({ length: 500 }, (_, n) =>
          must(client, 'message:send', { roomId, clientId: `${who}-${n}`, body: `${n}` }),
        ),
      ),
    );
    const wanted = Array.from({ length: 2000 }, (_, n) => n + 1);
    expect(sent.map(({ message }) => message.seq).sort((a, b) => a - b)).toEqual(wanted);
    for (let who = 0; who < 4; who++) {
      const own = sent.slice(who * 500, who * 500 + 500).map(({ message }) => message.seq);
      expect(own).toEqual([...own].sort((a, b) => a - b)); // what one client sends in order stays in order
    }
    await until(() => seen.length >= 2000);
    expect(seen).toEqual(wanted);
  }, 120_000);

  test('the same client id from two sockets at once is one message', async () => {
    const one = await connect(world.url, school.learner.token);
    const two = await connect(world.url, school.learner.token);
    const acks = await Promise.all(
      [one, two, one, two].map((client) => must(client, 'message:send', send('twin', 'Once'))),
    );
    expect(new Set(acks.map(({ message }) => message.id)).size).toBe(1);
  });

  test('who was away gets what passed, each once, while others go on talking', async () => {
    const ada = await connect(world.url, school.teacher.token);
    const { lastSeq } = await must(ada, 'room:join', { roomId: school.roomId });
    for (let n = 0; n < 10; n++) await must(ada, 'message:send', send(`away-${n}`, `${n}`));

    const talking = (async () => {
      for (let n = 10; n < 60; n++) await must(ada, 'message:send', send(`away-${n}`, `${n}`));
    })();
    const ben = await connect(world.url, school.learner.token);
    const seen: number[] = [];
    ben.on('message', (message) => seen.push(message.seq));
    const page = await must(ben, 'room:join', { roomId: school.roomId, after: lastSeq });
    await talking;
    await until(() => seen.at(-1) === lastSeq + 60);
    const all = [...page.messages.map((message) => message.seq), ...seen];
    expect(all).toEqual(Array.from({ length: 60 }, (_, n) => lastSeq + 1 + n));
  });

  test('a message that no process was told about is found and still comes in order', async () => {
    const ben = await connect(world.url, school.learner.token);
    const { lastSeq } = await must(ben, 'room:join', { roomId: school.roomId });
    const seen: number[] = [];
    ben.on('message', (message) => seen.push(message.seq));
    // As another process would, without telling this one.
    await world.db
      .updateTable('rooms')
      .set({ last_seq: lastSeq + 1 })
      .where('id', '=', school.roomId)
      .execute();
    await world.db
      .insertInto('messages')
      .values({
        id: newId(),
        room_id: school.roomId,
        seq: lastSeq + 1,
        client_id: 'untold',
        author_id: school.teacher.userId,
        body: 'untold',
        mentions: [],
        reply_to: null,
        attachments: [],
        created_at: new Date(),
        edited_at: null,
        deleted_at: null,
      })
      .execute();
    await must(ben, 'message:send', send('told', 'told'));
    await until(() => seen.length === 2);
    expect(seen).toEqual([lastSeq + 1, lastSeq + 2]);
  });

  test('edit, react, delete reach the room; only those who may', async () => {
    const ada = await connect(world.url, school.teacher.token);
    const ben = await connect(world.url, school.learner.token);
    await must(ada, 'room:join', { roomId: school.roomId });
    const { message } = await must(ben, 'message:send', send('edit-1', 'Frist'));
    const messageId = message.id;

    expect(await ask(ada, 'message:edit', { messageId, body: 'Mine' })).toMatchObject({
      ok: false,
      error: { code: 'forbidden' },
    });
    const edited = next<Message>(ada, 'message:edited');
    await must(ben, 'message:edit', { messageId, body: 'First' });
    expect(await edited).toMatchObject({ id: messageId, body: 'First', editedAt: expect.any(String) });

    const reacted = next<ReactionChange>(ada, 'reaction');
    const mine = await must(ben, 'reaction:add', { messageId, emoji: '👍🏽' });
    expect(mine.reactions).toEqual([{ emoji: '👍🏽', count: 1, mine: true }]);
    expect(await reacted).toMatchObject({
      messageId,
      emoji: '👍🏽',
      userId: school.learner.userId,
      added: true,
      reactions: [{ emoji: '👍🏽', count: 1 }],
    });
    expect(await ask(ben, 'reaction:add', { messageId, emoji: 'nice' })).toMatchObject({
      ok: false,
      error: { code: 'validation-failed' },
    });
    expect((await must(ada, 'reaction:remove', { messageId, emoji: '👍🏽' })).reactions).toEqual([
      { emoji: '👍🏽', count: 1, mine: false },
    ]);

    const gone = next<Message>(ada, 'message:deleted');
    await must(ada, 'message:delete', { messageId });
    expect(await gone).toMatchObject({
      id: messageId,
      body: '',
      reactions: [],
      deletedAt: expect.any(String),
    });
    expect(await ask(ben, 'message:edit', { messageId, body: 'Again' })).toMatchObject({
      ok: false,
      error: { code: 'conflict' },
    });
    expect((await world.published('message.deleted')).some((event) => event.subject === messageId)).toBe(
      true,
    );
  });

  test('typing reaches the others, at most every two seconds; reading reaches the own other devices', async () => {
    const ada = await connect(world.url, school.teacher.token);
    const ben = await connect(world.url, school.learner.token);
    const phone = await connect(world.url, school.learner.token);
    await must(ada, 'room:join', { roomId: school.roomId });
    await must(ben, 'room:join', { roomId: school.roomId });
    let typed = 0;
    ada.on('typing', () => typed++);
    const typing = next(ada, 'typing');
    for (let n = 0; n < 5; n++) await must(ben, 'typing', { roomId: school.roomId });
    expect(await typing).toEqual({
      roomId: school.roomId,
      userId: school.learner.userId,
      displayName: 'Ben',
    });

    const { message } = await must(ada, 'message:send', send('read-1', 'Read me'));
    const read = next(phone, 'read');
    await must(ben, 'read', { roomId: school.roomId, seq: message.seq });
    expect(await read).toEqual({ roomId: school.roomId, userId: school.learner.userId, seq: message.seq });
    expect(await must(ben, 'read', { roomId: school.roomId, seq: 1 })).toMatchObject({ seq: message.seq });
    expect(typed).toBe(1);
  });

  test('presence: who comes and goes', async () => {
    const { roomId, teacher, learner } = await openSchool(world);
    const ada = await connect(world.url, teacher.token);
    await must(ada, 'room:join', { roomId });
    expect(await must(ada, 'presence:list', { roomId })).toEqual({ ok: true, online: [teacher.userId] });
    const comes = next(ada, 'presence');
    const ben = await connect(world.url, learner.token);
    expect(await comes).toEqual({ userId: learner.userId, online: true });
    expect((await must(ada, 'presence:list', { roomId })).online.sort()).toEqual(
      [teacher.userId, learner.userId].sort(),
    );
    const goes = next(ada, 'presence');
    ben.disconnect();
    expect(await goes).toEqual({ userId: learner.userId, online: false });
  });
});

test('two processes: messages once and in order on both, and people see each other', async () => {
  const twin = await startService(await createChat(world.deps), world.deps, {
    hostname: '127.0.0.1',
    port: 0,
  });
  try {
    const { roomId, teacher, learner } = await openSchool(world);
    const ada = await connect(world.url, teacher.token);
    const ben = await connect(`http://127.0.0.1:${twin.port}`, learner.token);
    const seen: Record<string, number[]> = { ada: [], ben: [] };
    ada.on('message', (message) => seen.ada!.push(message.seq));
    ben.on('message', (message) => seen.ben!.push(message.seq));
    await must(ada, 'room:join', { roomId });
    await must(ben, 'room:join', { roomId });
    await until(async () => (await must(ada, 'presence:list', { roomId })).online.length === 2);
    await Promise.all(
      Array.from({ length: 60 }, (_, n) =>
        must(n % 2 ? ada : ben, 'message:send', { roomId, clientId: `${n}`, body: `${n}` }),
      ),
    );
    const wanted = Array.from({ length: 60 }, (_, n) => n + 1);
    await until(() => seen.ada!.length >= 60 && seen.ben!.length >= 60);
    expect(seen).toEqual({ ada: wanted, ben: wanted });
  } finally {
    disconnectAll();
    await twin.stop(1_000);
  }
});

describe('who may not', () => {
  test('strangers learn nothing; an administrator looks in but does not take part', async () => {
    const stranger = await connect(world.url, (await person(world, 'Eve')).token);
    const { roomId } = school;
    const messageId = (await world.call('GET', `/api/chat/rooms/${roomId}/messages`, { as: school.learner }))
      .body.items[0].id;
    for (const [event, input] of [
      ['room:join', { roomId }],
      ['message:send', send('x', 'x')],
      ['message:edit', { messageId, body: 'x' }],
      ['message:delete', { messageId }],
      ['reaction:add', { messageId, emoji: '👍' }],
      ['typing', { roomId }],
      ['read', { roomId, seq: 1 }],
      ['presence:list', { roomId }],
    ] as const) {
      expect(await ask(stranger, event, input)).toMatchObject({ ok: false, error: { code: 'not-found' } });
    }
    const admin = await connect(world.url, (await person(world, 'Root', 'admin')).token);
    expect((await must(admin, 'room:join', { roomId })).room).toMatchObject({
      kind: 'course',
      name: 'Algebra',
      unread: 0,
    });
    expect(await ask(admin, 'message:send', send('x', 'x'))).toMatchObject({
      ok: false,
      error: { code: 'forbidden' },
    });
  });

  test('who leaves the course hears no more', async () => {
    const { roomId, courseId, teacher, learner } = await openSchool(world);
    const ada = await connect(world.url, teacher.token);
    const ben = await connect(world.url, learner.token);
    await must(ben, 'room:join', { roomId });
    await world.emit('enrolment.cancelled', enrolmentFacts(courseId, teacher, learner));
    let heard = 0;
    ben.on('message', () => heard++);
    await must(ada, 'message:send', { roomId, clientId: '1', body: 'Secret' });
    expect(await ask(ben, 'room:join', { roomId })).toMatchObject({
      ok: false,
      error: { code: 'not-found' },
    });
    expect(heard).toBe(0);
  });
});

describe('bad input', () => {
  test('gets an acknowledgement and never a closed connection', async () => {
    const ben = await connect(world.url, school.learner.token);
    const { roomId } = school;
    let deep: unknown = 1;
    for (let n = 0; n < 500; n++) deep = { deep };
    const before = (await must(ben, 'room:join', { roomId })).lastSeq;
    for (const body of [
      undefined,
      null,
      7,
      'text',
      [],
      [[]],
      {},
      deep,
      { roomId },
      { roomId: '../x', clientId: 'a', body: 'x' },
      send('a', ''),
      send('a', '   '),
      send('a', 'nul\u0000'),
      send('a', '\ud800'),
      send('a', 'x'.repeat(4001)),
      send('', 'x'),
      { ...send('a', 'x'), seq: 9 },
      { ...send('a', 'x'), replyTo: newId() },
      { ...send('a', 'x'), attachments: [{ fileId: newId() }] },
      { ...send('a', 'x'), attachments: Array.from({ length: 99 }, () => ({ fileId: newId() })) },
      { ...send('a', 'x'), body: Buffer.from('binary') },
      JSON.parse(`{"__proto__":{"admin":true},"roomId":"${roomId}","clientId":"a","body":["x"]}`),
    ]) {
      expect(await ask(ben, 'message:send', body)).toMatchObject({
        ok: false,
        error: { code: 'validation-failed' },
      });
    }
    for (const name of ['nothing', '__proto__', 'constructor', 'error', 'message', 'toString']) {
      expect(await ask(ben, name as never, {})).toMatchObject({ ok: false, error: { code: 'not-found' } });
    }
    const raw = ben as unknown as {
      emit(...args: unknown[]): void;
      timeout(ms: number): { emitWithAck(...args: unknown[]): Promise<unknown> };
    };
    expect(await raw.timeout(2000).emitWithAck('message:send', send('a', 'x'), 'more')).toMatchObject({
      ok: false,
    });
    raw.emit('message:send'); // no acknowledgement asked for
    raw.emit('error', 'x');
    raw.emit('message:send', { bad: true });
    expect((await must(ben, 'room:join', { roomId })).lastSeq).toBe(before);
    expect(ben.connected).toBe(true);
  });

  test('rubbish frames end at most their own connection', async () => {
    const watcher = await connect(world.url, school.teacher.token);
    for (const frame of [
      '',
      'x',
      '4',
      '42',
      '42[',
      '42{}',
      '42["connect"]',
      '451-["x",{"_placeholder":true,"num":5}]',
      '9',
      new Uint8Array(64),
      '40{"token":1}',
      '42["error"]',
      `4${'['.repeat(50_000)}`,
      'x'.repeat(300_000),
    ]) {
      const socket = new WebSocket(`${world.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
      await new Promise((resolve) => {
        socket.onopen = resolve;
      });
      socket.send(`40${JSON.stringify({ token: school.learner.token })}`);
      socket.send(frame);
      socket.send(frame);
      await new Promise((resolve) => setTimeout(resolve, 10));
      socket.close();
    }
    expect((await must(watcher, 'room:join', { roomId: school.roomId })).ok).toBe(true);
  });
});

describe('the end of a session', () => {
  test('closes its sockets in both namespaces, and only those', async () => {
    const user = await person(world, 'Cleo');
    const other = await world.signIn({ userId: user.userId, name: 'Cleo' });
    const main = await connect(world.url, user.token);
    const bell = await connect(world.url, user.token, '/notifications');
    const stays = await connect(world.url, other.token);
    const told = Promise.all([next(main, 'session:ended'), next(bell, 'session:ended')]);
    await world.emit('session.revoked', {
      userId: user.userId,
      sessionId: user.caller.sessionId,
      reason: 'logout',
    });
    expect(await told).toEqual([{ reason: 'session-revoked' }, { reason: 'session-revoked' }]);
    await until(() => !main.connected && !bell.connected);
    expect(stays.connected).toBe(true);

    const ended = next(stays, 'session:ended');
    await world.emit('user.disabled', { userId: user.userId, disabled: true });
    expect(await ended).toEqual({ reason: 'account-disabled' });
  });

  test('a revoked session can do nothing even before the event comes', async () => {
    const user = await person(world, 'Dora');
    const client = await connect(world.url, user.token);
    // As auth does before it answers a logout.
    await markRevoked(world.deps.ephemeral, [user.caller.sessionId], 60_000);
    await announceRevoked(world.deps.ephemeral, [user.caller.sessionId]);
    await new Promise((resolve) => setTimeout(resolve, 20)); // between processes
    const ended = next(client, 'session:ended');
    expect(await ask(client, 'presence:list', { roomId: school.roomId })).toMatchObject({
      ok: false,
      error: { code: 'unauthenticated' },
    });
    expect(await ended).toEqual({ reason: 'session-revoked' });
  });

  test('a revoked session whose announcement was lost is refused within a second', async () => {
    const user = await person(world, 'Dan');
    const client = await connect(world.url, user.token);
    const ended = next(client, 'session:ended');
    await must(client, 'auth:refresh', { token: user.token });
    await markRevoked(world.deps.ephemeral, [user.caller.sessionId], 60_000);
    await until(async () => {
      const ack = await ask(client, 'presence:list', { roomId: school.roomId });
      return !ack.ok && ack.error.code === 'unauthenticated';
    }, 1_000);
    expect(await ended).toEqual({ reason: 'session-revoked' });
  });

  test('an expired token does nothing until a fresh one is handed over', async () => {
    const short = await world.signIn({ userId: school.learner.userId, name: 'Ben', expiresIn: -4 });
    const client = await connect(world.url, short.token); // within the tolerance for clocks
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    expect(await ask(client, 'presence:list', { roomId: school.roomId })).toMatchObject({
      ok: false,
      error: { code: 'token-expired' },
    });
    const foreign = await person(world, 'Fay');
    expect(await ask(client, 'auth:refresh', { token: foreign.token })).toMatchObject({
      ok: false,
      error: { code: 'forbidden' },
    });
    await must(client, 'auth:refresh', { token: school.learner.token });
    await must(client, 'presence:list', { roomId: school.roomId });
  });
});

test('a notification arrives live in /notifications, once, and only for its user', async () => {
  const mine = await connect(world.url, school.learner.token, '/notifications');
  const other = await connect(world.url, school.teacher.token, '/notifications');
  const heard: unknown[] = [];
  mine.on('notification', (notification) => heard.push(notification));
  other.on('notification', () => heard.push('wrong'));
  const data = {
    userId: school.learner.userId,
    notificationId: newId(),
    kind: 'mention',
    title: 'Ada mentioned you',
    body: '…',
    link: '/rooms/1',
    createdAt: new Date().toISOString(),
    live: true,
  };
  const event = await world.emit('notification.created', data);
  await world.emit('notification.created', { ...data, notificationId: newId(), live: false });
  await world.deps.bus.publish(event);
  await until(() => heard.length > 0);
  await new Promise((resolve) => setTimeout(resolve, 200));
  const { notificationId: id, userId: _, live: __, ...rest } = data;
  expect(heard).toEqual([{ id, ...rest, readAt: null }]);
});

test('a flood is refused by acknowledgement, and the connection stays', async () => {
  const small = await startChat(1);
  try {
    const { roomId, learner } = await openSchool(small);
    const client = await connect(small.url, learner.token);
    const flood = Array.from({ length: 1000 }, () => ask(client, 'nothing' as never, {}));
    const codes = (await Promise.all(flood)).map((ack) => (ack.ok ? 'ok' : ack.error.code));
    expect(codes.slice(0, 120)).toEqual(Array.from({ length: 120 }, () => 'not-found'));
    expect(codes).toContain('rate-limited');
    await new Promise((resolve) => setTimeout(resolve, 300));
    await must(client, 'presence:list', { roomId });
  } finally {
    await small.stop();
  }
});
