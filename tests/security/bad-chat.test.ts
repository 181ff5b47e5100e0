import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Socket } from 'socket.io-client';
import {
  ask,
  connect,
  eventually,
  must,
  newPerson,
  type Person,
  signIn,
  signInAs,
} from '../support/people.ts';
import { startEmbedded, type TestPlatform } from '../support/platform.ts';
import { errorsLogged, expectDiscreet, unnoticed } from './refusals.ts';

/** People who want more of a chat than is theirs, through the gateway with the clients that everybody has. */

let platform: TestPlatform;
let bystander: Person;
let mallory: Person;
let victim: Person;
let roomId: string;

beforeAll(async () => {
  platform = await startEmbedded({ env: { LYCEUM_LIMIT_SCALE: '20' } });
  bystander = await signInAs(platform, 'teacher');
  mallory = await newPerson(platform, 'Mallory');
  victim = await newPerson(platform, 'Victim');
  roomId = await openRoom('Ours');
}, 120_000);

afterAll(async () => {
  await platform?.dispose();
}, 60_000);

const openRoom = async (name: string): Promise<string> =>
  (
    await eventually('a room with somebody new', async () => {
      const group = { kind: 'group', name, memberIds: [mallory.id, victim.id] };
      const { status, body } = await bystander.api.post('/api/chat/rooms', group);
      return status === 201 ? (body as { id: string }) : undefined;
    })
  ).id;

const send = (socket: Socket, body: string, clientId: string = crypto.randomUUID(), room = roomId) =>
  ask(socket, 'message:send', { roomId: room, clientId, body });
const history = async (person = bystander, room = roomId) =>
  (await must(person.api.get(`/api/chat/rooms/${room}/messages?limit=100`), 'history')).items;

describe('numbers and ids', () => {
  test('that are forged are refused or mean nothing', async () => {
    const socket = await connect(platform, mallory.token);
    const { message } = await send(socket, 'Mine');
    const whole = { roomId, clientId: crypto.randomUUID(), body: 'x' };
    await unnoticed(platform, bystander, async () => {
      for (const more of [
        { seq: 1 },
        { seq: 1_000_000 },
        { id: message.id },
        { author: { id: victim.id, displayName: 'Victim' } },
        { authorId: victim.id },
        { createdAt: '2020-01-01T00:00:00.000Z' },
        { editedAt: null },
        { mentions: [victim.id] },
        { mentionsRoom: true },
        { pinnedAt: '2020-01-01T00:00:00.000Z' },
        { changeSeq: 5 },
        { replyCount: 9 },
        { bot: true },
      ]) {
        const ack = await ask(socket, 'message:send', { ...whole, ...more });
        expect([more, ack.error?.code]).toEqual([more, 'validation-failed']);
      }
      // Reading further than there is anything is reading all.
      const read = await ask(socket, 'read', { roomId, seq: 2_147_483_647 });
      expect(read).toEqual({ ok: true, seq: message.seq });
      const ahead = await ask(socket, 'room:join', { roomId, after: 2_147_483_647 });
      expect([ahead.ok, ahead.messages, ahead.lastSeq]).toEqual([true, [], message.seq]);
      expect((await send(socket, 'Next')).message.seq).toBe(message.seq + 1);
    });
    const items = await history();
    expect(items.map(({ seq }: { seq: number }) => seq)).toEqual(items.map((_: unknown, n: number) => n + 1));
    socket.close();
  }, 60_000);

  test('client ids are each author’s own: nobody gets, takes or hides another’s message', async () => {
    const [hers, his] = [await connect(platform, victim.token), await connect(platform, mallory.token)];
    const clientId = crypto.randomUUID();
    const first = await send(hers, 'From the victim', clientId);
    const second = await send(his, 'From Mallory', clientId);
    expect(second.message.id).not.toBe(first.message.id);
    expect([second.message.author.id, second.message.body]).toEqual([mallory.id, 'From Mallory']);
    // Beforehand as well: an id that Mallory has used is free for the victim.
    const guessed = crypto.randomUUID();
    await send(his, 'Too early', guessed);
    expect((await send(hers, 'In time', guessed)).message.body).toBe('In time');
    const { id: messageId } = first.message;
    expect((await ask(his, 'message:edit', { messageId, body: 'Other words' })).error.code).toBe('forbidden');
    expect((await ask(his, 'message:delete', { messageId })).error.code).toBe('forbidden');
    expect((await history()).find(({ id }: { id: string }) => id === messageId).body).toBe('From the victim');
    hers.close();
    his.close();
  }, 60_000);
});

describe('sockets', () => {
  test('that never ask for an acknowledgement, and answer none, are served like others', async () => {
    const socket = await connect(platform, mallory.token);
    const room = await openRoom('Silent');
    const watcher = await connect(platform, bystander.token);
    await ask(watcher, 'room:join', { roomId: room });
    const seen: string[] = [];
    watcher.on('message', ({ body }: { body: string }) => void seen.push(body));
    await unnoticed(platform, bystander, async () => {
      for (let n = 0; n < 300; n++)
        socket.emit('message:send', { roomId: room, clientId: `${n}`, body: `${n}` });
      // Answers to questions that nobody has asked.
      const engine = socket.io.engine as unknown as { write(packet: string): void };
      for (let n = 0; n < 300; n++) engine.write(`3${n}[{"ok":true}]`);
      await eventually('all of them', async () => (seen.length >= 300 ? true : undefined), 20_000);
    });
    expect(seen).toEqual(Array.from({ length: 300 }, (_, n) => `${n}`));
    expect(socket.connected).toBe(true);
    socket.close();
    watcher.close();
  }, 60_000);

  test('that join thousands of times, and rooms that are not there, hear each message once', async () => {
    const socket = await connect(platform, mallory.token);
    const room = await openRoom('Again');
    await unnoticed(platform, bystander, async () => {
      const joins = await Promise.all(
        Array.from({ length: 2_000 }, (_, n) =>
          socket
            .timeout(120_000)
            .emitWithAck('room:join', { roomId: n % 2 ? room : crypto.randomUUID() })
            .then((ack) => (ack.ok ? 'ok' : ack.error.code)),
        ),
      );
      expect(new Set(joins)).toEqual(new Set(['ok', 'not-found']));
    });
    let heard = 0;
    socket.on('message', () => heard++);
    const writer = await connect(platform, bystander.token);
    for (let n = 0; n < 5; n++) await send(writer, `${n}`, undefined, room);
    await eventually('the messages', async () => (heard >= 5 ? true : undefined));
    await Bun.sleep(200);
    expect(heard).toBe(5);
    await ask(socket, 'room:leave', { roomId: room });
    await send(writer, 'Unheard', undefined, room);
    await ask(socket, 'presence:list', { roomId: room });
    expect(heard).toBe(5);
    socket.close();
    writer.close();
  }, 180_000);

  test('of somebody banned are out within a second, and stay out whatever they say', async () => {
    const room = await openRoom('Quiet');
    const socket = await connect(platform, mallory.token);
    const { messages } = await ask(socket, 'room:join', { roomId: room });
    expect(messages).toEqual([]);
    const { message } = await send(socket, 'Before the quokka', undefined, room);
    let left: unknown;
    socket.once('room:left', (value: unknown) => {
      left = value;
    });
    let heard = 0;
    socket.onAny((event: string) => void (event === 'room:left' || heard++));
    await must(
      bystander.api.put(`/api/chat/rooms/${room}/bans/${mallory.id}`, { reason: 'Shouting' }),
      'ban',
    );
    await eventually('the word of it', async () => left ?? undefined);
    const writer = await connect(platform, bystander.token);
    await send(writer, 'Without the quokka', undefined, room);
    for (const [event, input] of [
      ['room:join', { roomId: room }],
      ['message:send', { roomId: room, clientId: 'x', body: 'x' }],
      ['message:edit', { messageId: message.id, body: 'x' }],
      ['message:delete', { messageId: message.id }],
      ['reaction:add', { messageId: message.id, emoji: '👍' }],
      ['typing', { roomId: room }],
      ['read', { roomId: room, seq: 1 }],
      ['presence:list', { roomId: room }],
    ] as const) {
      const ack = await ask(socket, event, input);
      expect([event, ack.error?.code]).toEqual([event, 'banned']);
      expectDiscreet(JSON.stringify(ack));
    }
    const again = await connect(platform, mallory.token);
    expect((await ask(again, 'room:join', { roomId: room })).error.code).toBe('banned');
    for (const path of ['', '/messages', '/members', '/pins', '/export', '/changes'])
      expect([path, (await mallory.api.get(`/api/chat/rooms/${room}${path}`)).status]).toEqual([path, 403]);
    expect((await mallory.api.get('/api/chat/search?q=quokka')).body).toMatchObject({ items: [] });
    expect(heard).toBe(0);
    for (const open of [socket, again, writer]) open.close();
  }, 60_000);
});

describe('names', () => {
  const names = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "Robert'); drop table rooms;--",
    '{{7*7}}',
    '../../etc',
    'שלום 👩‍🏫 e\u0301',
  ];

  test('with HTML in them stay text, word for word', async () => {
    for (const name of names) {
      const { status, body } = await bystander.api.post('/api/chat/rooms', {
        kind: 'group',
        name,
        memberIds: [],
      });
      expect([name, status, (body as { name: string }).name]).toEqual([name, 201, name]);
      const hook = await must(
        bystander.api.post(`/api/chat/rooms/${(body as { id: string }).id}/webhooks`, { name }),
        'webhook',
      );
      expect(hook.name).toBe(name);
    }
    const response = await fetch(`${platform.url}/api/chat/rooms`, {
      headers: { authorization: `Bearer ${bystander.token}` },
    });
    expect(response.headers.get('content-type')).toStartWith('application/json');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  });

  test('with control characters in them are refused everywhere', async () => {
    for (const name of [
      'a\u0000b',
      'a\u0007b',
      'a\nb',
      'a\u001b[31mb',
      'a\u007fb',
      'a\u009bb',
      'a\u2028b',
      'a\u202eb',
      '\ud800',
      '',
      '   ',
      'x'.repeat(101),
    ]) {
      const code = async (reply: Promise<{ status: number; body: unknown }>) =>
        ((await reply).body as { code?: string }).code;
      const refused = [
        await code(bystander.api.post('/api/chat/rooms', { kind: 'group', name, memberIds: [] })),
        await code(bystander.api.patch(`/api/chat/rooms/${roomId}`, { name })),
        await code(bystander.api.post(`/api/chat/rooms/${roomId}/webhooks`, { name })),
        await code(mallory.api.patch('/api/profiles/me', { displayName: name })),
      ];
      expect([name, ...refused]).toEqual([name, ...refused.map(() => 'validation-failed')]);
    }
  });
});

describe('the word filter', () => {
  test('is not fooled by Unicode, on sockets and over HTTP', async () => {
    const word = { word: 'scoundrel', action: 'refuse' };
    await must(bystander.api.post(`/api/chat/rooms/${roomId}/filter-words`, word), 'word');
    const socket = await connect(platform, mallory.token);
    for (const text of [
      'scoundrel',
      'SCOUNDREL',
      'ｓｃｏｕｎｄｒｅｌ',
      '𝓼𝓬𝓸𝓾𝓷𝓭𝓻𝓮𝓵',
      'ѕсоundrеl',
      'scoun\u200bdrel',
      'scoun\u00addrel',
      's\u0336c\u0336o\u0336undrel',
      's c o u n d r e l',
      'sc0undre1',
      '<@room> scoundrel',
      '**scoun**drel scoundrel',
    ]) {
      expect([text, (await send(socket, text)).error?.code]).toEqual([text, 'content-refused']);
      const message = { clientId: crypto.randomUUID(), body: text };
      expect((await mallory.api.post(`/api/chat/rooms/${roomId}/messages`, message)).status).toBe(422);
    }
    expect((await send(socket, 'A scoundrelly, unscoundrel-like word')).ok).toBe(true);
    socket.close();
  });
});

test('a token that runs out while connected: no event, until a fresh one is handed over', async () => {
  const short = await startEmbedded({ env: { LYCEUM_ACCESS_TOKEN_SECONDS: '3', LYCEUM_DEMO: 'off' } });
  try {
    const person = await newPerson(short, 'Late');
    const socket = await connect(short, person.token);
    await eventually(
      'the end of the token',
      async () => {
        const ack = await ask(socket, 'presence:list', { roomId: crypto.randomUUID() });
        return ack.error.code === 'token-expired' ? true : undefined;
      },
      15_000,
    );
    expect(socket.connected).toBe(true);
    expect((await ask(socket, 'auth:refresh', { token: person.token })).error.code).toBe('token-expired');
    const fresh = await signIn(short, person.email, person.password);
    expect(await ask(socket, 'auth:refresh', { token: fresh.token })).toMatchObject({ ok: true });
    expect((await ask(socket, 'presence:list', { roomId: crypto.randomUUID() })).error.code).toBe(
      'not-found',
    );
    socket.close();
  } finally {
    await short.dispose();
  }
}, 120_000);

test('none of it was an error of ours', async () => {
  expect(await errorsLogged(platform)).toEqual([]);
});
