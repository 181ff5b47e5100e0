import { afterEach, describe, expect, test } from 'bun:test';
import { EventEmitter } from 'node:events';
import type { ClientAcks, ClientEvent, Message } from '../contracts/chat.ts';
import { ChatClient, type ChatClientOptions } from './chat-client.ts';

/** The client against a scripted socket; against the real service it is in services/chat/chat-client.test.ts. */

const ROOM = '018f0000-0000-7000-8000-000000000001';
const ME = '018f0000-0000-7000-8000-00000000000a';

interface Asked {
  event: ClientEvent;
  input: Record<string, unknown>;
  reply(reply: object): void;
  /** As when the connection is lost or no answer comes. */
  fail(): void;
}

/** A socket whose server is the test. */
class ScriptedSocket extends EventEmitter {
  connected = false;
  active = true;
  connects = 0;
  readonly asked: Asked[] = [];
  readonly #unanswered = new Set<() => void>();
  #waiters: (() => void)[] = [];

  connect(): this {
    this.connects++;
    return this;
  }
  disconnect(): this {
    this.drop();
    return this;
  }
  timeout() {
    return {
      emitWithAck: (event: ClientEvent, input: Record<string, unknown>) =>
        new Promise((resolve, reject) => {
          const fail = () => reject(new Error('no answer'));
          this.#unanswered.add(fail);
          this.asked.push({ event, input, reply: resolve, fail });
          for (const wake of this.#waiters.splice(0)) wake();
        }),
    };
  }
  open(): void {
    this.connected = true;
    this.emit('connect');
  }
  drop(): void {
    if (!this.connected) return;
    this.connected = false;
    this.asked.length = 0;
    for (const fail of this.#unanswered) fail();
    this.#unanswered.clear();
    this.emit('disconnect', 'transport close');
  }
  /** The next event that the client asks. */
  async next(event: ClientEvent): Promise<Asked> {
    for (;;) {
      const index = this.asked.findIndex((asked) => asked.event === event);
      if (index >= 0) return this.asked.splice(index, 1)[0]!;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }
}

const message = (seq: number, over: Partial<Message> = {}): Message => ({
  id: `m${seq}`,
  roomId: ROOM,
  seq,
  clientId: `c${seq}`,
  author: { id: ME, displayName: 'Ada' },
  body: `Message ${seq}`,
  mentions: [],
  mentionsRoom: false,
  replyTo: null,
  replyCount: 0,
  lastReplyAt: null,
  attachments: [],
  reactions: [],
  createdAt: '2026-01-01T00:00:00Z',
  editedAt: null,
  deletedAt: null,
  pinnedAt: null,
  changeSeq: 0,
  ...over,
});

const page = (
  messages: Message[],
  over: Partial<ClientAcks['room:join']> = {},
  firstSeq = 1,
): { ok: true } & ClientAcks['room:join'] => ({
  ok: true,
  room: { id: ROOM, firstSeq } as ClientAcks['room:join']['room'],
  messages,
  lastSeq: messages.at(-1)?.seq ?? 0,
  hasMore: false,
  changes: [],
  lastChange: 0,
  hasMoreChanges: false,
  ...over,
});

const refused = (code: string, retryAfter?: number) => ({
  ok: false,
  error: { code, detail: code, ...(retryAfter === undefined ? {} : { retryAfter }) },
});
const tokenOf = (claims: object): string =>
  `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;
const soon = () => new Promise((resolve) => setTimeout(resolve, 10));

const open: ChatClient[] = [];
afterEach(() => {
  for (const client of open.splice(0)) client.close();
});

function start(options: Partial<ChatClientOptions> = {}) {
  const socket = new ScriptedSocket();
  let connection: { auth?: unknown; transports?: unknown } = {};
  const client = new ChatClient({
    io: (_url, given) => {
      connection = given as typeof connection;
      return socket as never;
    },
    url: 'http://chat.example',
    token: () => tokenOf({ sub: ME }),
    backOff: { first: 1, most: 5 },
    ...options,
  });
  open.push(client);
  const heard: number[] = [];
  const gaps: string[] = [];
  client.on('message', ({ seq }) => heard.push(seq));
  client.on('gap', ({ roomId }) => gaps.push(roomId));
  const handshake = () =>
    new Promise<{ token: string }>((resolve) => (connection.auth as (give: typeof resolve) => void)(resolve));
  return { socket, client, heard, gaps, handshake, connection };
}

/** In the room, with these messages. */
async function joined(messages: Message[], options: Partial<ChatClientOptions> = {}) {
  const world = start(options);
  await world.handshake();
  world.socket.open();
  const joining = world.client.join(ROOM);
  (await world.socket.next('room:join')).reply(page(messages));
  const room = await joining;
  return { ...world, room };
}

describe('a room', () => {
  test('takes live messages in order, each once', async () => {
    const { socket, heard, gaps } = await joined([message(1), message(2)]);
    for (const seq of [3, 3, 2, 4, 1, 4]) socket.emit('message', message(seq));
    expect(heard).toEqual([1, 2, 3, 4]);
    expect(gaps).toEqual([]);
  });

  test('notices a gap by a live message, asks after its last number, and goes on in order', async () => {
    const { socket, heard, gaps, room } = await joined([message(1)]);
    socket.emit('message', message(4));
    socket.emit('message', message(3));
    const asked = await socket.next('room:join');
    expect(asked.input).toEqual({ roomId: ROOM, after: 1, changesAfter: 0 });
    expect(heard).toEqual([1]);
    asked.reply(page([message(2), message(3), message(4)]));
    await soon();
    expect(heard).toEqual([1, 2, 3, 4]);
    expect(gaps).toEqual([ROOM]);
    expect(room.behind).toBe(false);
    expect(socket.asked).toEqual([]);
  });

  test('closes a gap without asking if what is missing comes while it asks; the page then brings nothing twice', async () => {
    const { socket, heard } = await joined([message(1)]);
    socket.emit('message', message(3));
    const asked = await socket.next('room:join');
    socket.emit('message', message(2));
    expect(heard).toEqual([1, 2, 3]);
    asked.reply(page([message(2), message(3)]));
    await soon();
    expect(heard).toEqual([1, 2, 3]);
  });

  test('notices a quiet gap by the beat, in messages and in changes', async () => {
    const { socket, heard, room } = await joined([message(1)]);
    socket.emit('room:beat', { roomId: ROOM, lastSeq: 1, lastChange: 0 });
    expect(socket.asked).toEqual([]);
    socket.emit('room:beat', { roomId: ROOM, lastSeq: 2, lastChange: 0 });
    (await socket.next('room:join')).reply(page([message(2)]));
    await soon();
    expect(heard).toEqual([1, 2]);
    socket.emit('room:beat', { roomId: ROOM, lastSeq: 2, lastChange: 1 });
    const asked = await socket.next('room:join');
    expect(asked.input).toEqual({ roomId: ROOM, after: 2, changesAfter: 0 });
    asked.reply(
      page([], { lastSeq: 2, changes: [message(1, { body: 'Edited', changeSeq: 1 })], lastChange: 1 }),
    );
    await soon();
    expect(room.messages.map(({ body }) => body)).toEqual(['Edited', 'Message 2']);
  });

  test('pages through a long absence, and takes what comes live meanwhile after it', async () => {
    const { socket, heard } = await joined([message(1)]);
    socket.drop();
    socket.open();
    const first = await socket.next('room:join');
    socket.emit('message', message(7));
    first.reply(page([message(2), message(3)], { hasMore: true, lastSeq: 6 }));
    const second = await socket.next('room:join');
    expect(second.input.after).toBe(3);
    second.reply(page([message(4), message(5), message(6)]));
    await soon();
    expect(heard).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(socket.asked).toEqual([]);
  });

  test('applies changes by their number: late, early and doubled ones', async () => {
    const { socket, room } = await joined([message(1), message(2)]);
    const edit = (seq: number, changeSeq: number, body: string) => message(seq, { changeSeq, body });
    socket.emit('message:edited', edit(1, 2, 'Second'));
    const asked = await socket.next('room:join');
    expect(room.messages[0]!.body).toBe('Message 1');
    socket.emit('message:edited', edit(1, 1, 'First'));
    expect(room.messages[0]!.body).toBe('Second');
    asked.reply(page([], { lastSeq: 2, changes: [edit(1, 2, 'Second')], lastChange: 2 }));
    await soon();
    socket.emit('message:edited', edit(1, 1, 'First'));
    expect(room.messages[0]!.body).toBe('Second');
    socket.emit('message:deleted', message(2, { body: '', deletedAt: '2026-01-01T00:00:01Z', changeSeq: 3 }));
    expect(room.messages[1]).toMatchObject({ body: '', changeSeq: 3 });
    expect(socket.asked).toEqual([]);
  });

  test('knows its own reactions, and an edit leaves them alone', async () => {
    const { socket, room } = await joined([message(1)]);
    const react = (changeSeq: number, userId: string, count: number) =>
      socket.emit('reaction', {
        roomId: ROOM,
        seq: 1,
        changeSeq,
        messageId: 'm1',
        emoji: '👍',
        userId,
        added: true,
        reactions: [{ emoji: '👍', count }],
      });
    react(1, 'somebody', 1);
    expect(room.messages[0]!.reactions).toEqual([{ emoji: '👍', count: 1, mine: false }]);
    react(2, ME, 2);
    react(3, 'another', 3);
    const { reactions: _, ...edited } = message(1, { body: 'Edited', changeSeq: 4 });
    socket.emit('message:edited', edited);
    expect(room.messages[0]).toMatchObject({
      body: 'Edited',
      reactions: [{ emoji: '👍', count: 3, mine: true }],
    });
  });

  test('a message that comes live while a page is asked for becomes what the page says of it', async () => {
    const { socket, room, heard } = await joined([message(1)]);
    socket.emit('room:beat', { roomId: ROOM, lastSeq: 2, lastChange: 1 });
    const asked = await socket.next('room:join');
    expect(asked.input).toMatchObject({ after: 1, changesAfter: 0 });
    socket.emit('message', message(2));
    asked.reply(page([message(2, { body: 'Edited', changeSeq: 1 })], { lastChange: 1 }));
    await soon();
    expect(room.messages.map(({ body }) => body)).toEqual(['Message 1', 'Edited']);
    expect(heard).toEqual([1, 2]);
    expect(socket.asked).toEqual([]);
  });

  test('a message that comes live while there are more pages becomes what its page says of it', async () => {
    const { socket, room, heard } = await joined([message(1)]);
    socket.emit('message', message(3));
    const first = await socket.next('room:join');
    first.reply(page([message(2)], { hasMore: true, lastSeq: 3, lastChange: 1 }));
    const second = await socket.next('room:join');
    expect(second.input).toMatchObject({ after: 2, changesAfter: 1 });
    second.reply(page([message(3, { body: 'Edited', changeSeq: 1 })], { lastChange: 1 }));
    await soon();
    expect(room.messages.map(({ body }) => body)).toEqual(['Message 1', 'Message 2', 'Edited']);
    expect(heard).toEqual([1, 2, 3]);
    expect(socket.asked).toEqual([]);
  });

  test('holds the newest messages only, and begins anew after a long absence', async () => {
    const { socket, room, client } = await joined([message(1)], { keep: 3 });
    for (let seq = 2; seq <= 10; seq++) socket.emit('message', message(seq));
    expect(room.messages.map(({ seq }) => seq)).toEqual([8, 9, 10]);
    const removed: object[] = [];
    client.on('removed', (what) => removed.push(what));
    socket.drop();
    socket.open();
    (await socket.next('room:join')).reply(page([message(11)], { hasMore: true, lastSeq: 90 }));
    const anew = await socket.next('room:join');
    expect(anew.input).toEqual({ roomId: ROOM });
    anew.reply(page([message(88), message(89), message(90)], { hasMore: true, lastChange: 40 }));
    await soon();
    expect(room.messages.map(({ seq }) => seq)).toEqual([88, 89, 90]);
    expect(removed).toEqual([{ roomId: ROOM, upTo: undefined }]);
    expect(room.change).toBe(40);
  });

  test('drops what retention has removed, and does not miss it', async () => {
    const { socket, room, heard } = await joined([message(1), message(2)]);
    socket.emit('room:updated', { id: ROOM, firstSeq: 2 });
    expect(room.messages.map(({ seq }) => seq)).toEqual([2]);
    socket.drop();
    socket.open();
    (await socket.next('room:join')).reply(page([message(5)], {}, 5));
    await soon();
    expect(heard).toEqual([1, 2, 5]);
    expect(room.behind).toBe(false);
  });

  test('asks again after a passing refusal; one for good rejects and is told', async () => {
    const { socket, client } = start();
    socket.open();
    const left: object[] = [];
    client.on('left', (what) => left.push(what));
    const joining = client.join(ROOM);
    (await socket.next('room:join')).reply(refused('upstream-unavailable', 0.001));
    (await socket.next('room:join')).reply(refused('not-found'));
    expect(await joining.catch((error) => error.code)).toBe('not-found');
    expect(left).toEqual([{ roomId: ROOM, reason: 'not-found' }]);
    expect(client.room(ROOM)).toBeUndefined();
  });
});

describe('sending', () => {
  test('what is sent offline waits, and goes out in order under one client id until it is acknowledged', async () => {
    const { socket, client } = start();
    const sent = [client.send({ roomId: ROOM, body: 'One' }), client.send({ roomId: ROOM, body: 'Two' })];
    await soon();
    expect(socket.asked).toEqual([]);
    expect(client.queued).toBe(2);
    socket.open();
    const first = await socket.next('message:send');
    expect(first.input).toMatchObject({ roomId: ROOM, body: 'One' });
    first.fail();
    const again = await socket.next('message:send');
    expect(again.input).toEqual(first.input);
    again.reply(refused('upstream-unavailable', 0.001));
    const third = await socket.next('message:send');
    expect(third.input).toEqual(first.input);
    // The second has not overtaken it.
    expect(socket.asked).toEqual([]);
    third.reply({ ok: true, message: message(1) });
    const second = await socket.next('message:send');
    expect(second.input).toMatchObject({ body: 'Two' });
    // The connection is lost before the answer.
    socket.drop();
    socket.open();
    const secondAgain = await socket.next('message:send');
    expect(secondAgain.input).toEqual(second.input);
    secondAgain.reply({ ok: true, message: message(2) });
    expect((await Promise.all(sent)).map(({ seq }) => seq)).toEqual([1, 2]);
    expect(client.queued).toBe(0);
  });

  test('a refusal for good rejects, and the next goes out', async () => {
    const { socket, client } = start();
    socket.open();
    const bad = client.send({ roomId: ROOM, body: 'Bad' }).catch((error) => error.code);
    const good = client.send({ roomId: ROOM, body: 'Good' });
    (await socket.next('message:send')).reply(refused('content-refused'));
    (await socket.next('message:send')).reply({ ok: true, message: message(1) });
    expect(await bad).toBe('content-refused');
    expect((await good).seq).toBe(1);
  });

  test('no more than so many wait; closing refuses them', async () => {
    const { client } = start({ mostQueued: 1 });
    const waiting = client.send({ roomId: ROOM, body: 'One' }).catch((error) => error.code);
    expect(await client.send({ roomId: ROOM, body: 'Two' }).catch((error) => error.code)).toBe('queue-full');
    client.close();
    expect(await waiting).toBe('closed');
    expect(await client.send({ roomId: ROOM, body: 'Three' }).catch((error) => error.code)).toBe('closed');
  });
});

describe('the token', () => {
  test('is handed over on the open connection when it has run out', async () => {
    const asked: boolean[] = [];
    const { socket, client, handshake } = start({
      token: (renew) => {
        asked.push(renew);
        return tokenOf({ sub: ME, n: asked.length });
      },
    });
    const { token } = await handshake();
    socket.open();
    const sent = client.send({ roomId: ROOM, body: 'One' });
    (await socket.next('message:send')).reply(refused('token-expired'));
    const refresh = await socket.next('auth:refresh');
    expect(refresh.input.token).not.toBe(token);
    refresh.reply({ ok: true, expiresAt: '2030-01-01T00:00:00Z' });
    (await socket.next('message:send')).reply({ ok: true, message: message(1) });
    await sent;
    expect(asked).toEqual([false, true]);
    expect(socket.connects).toBe(0);
  });

  test('refused at the handshake it is renewed; refused again the client has ended', async () => {
    const asked: boolean[] = [];
    const { socket, client, handshake } = start({
      token: (renew) => {
        asked.push(renew);
        return tokenOf({ sub: ME });
      },
    });
    const states: string[] = [];
    client.on('state', (state) => states.push(state));
    const refuse = () => {
      socket.active = false;
      socket.emit('connect_error', Object.assign(new Error('no'), { data: { code: 'unauthenticated' } }));
    };
    await handshake();
    refuse();
    while (socket.connects === 0) await soon();
    await handshake();
    expect(asked).toEqual([false, true]);
    refuse();
    expect(states).toEqual(['ended']);
  });

  test('a server that can not tell now is asked again', async () => {
    const { socket } = start();
    for (let attempt = 1; attempt <= 3; attempt++) {
      socket.active = false;
      const data = { code: 'upstream-unavailable' };
      socket.emit('connect_error', Object.assign(new Error('no'), { data }));
      while (socket.connects < attempt) await soon();
    }
    expect(socket.connects).toBe(3);
  });

  test('null: nobody is signed in any more', async () => {
    const { socket, client, handshake } = start({ token: () => null });
    const states: string[] = [];
    client.on('state', (state) => states.push(state));
    void handshake();
    await soon();
    expect(states).toEqual(['ended']);
    expect(socket.connected).toBe(false);
  });
});

test('connects by WebSocket only', () => {
  expect(start().connection.transports).toEqual(['websocket']);
});
