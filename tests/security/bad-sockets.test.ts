import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'socket.io-client';
import { ask, connect, eventually, must, newPerson, type Person, signInAs } from '../support/people.ts';
import { startEmbedded, type TestPlatform } from '../support/platform.ts';
import { openRawSocket, type RawSocket } from './raw-socket.ts';
import { errorsLogged, expectDiscreet, faultsOf, parseRaw, stored, unnoticed } from './refusals.ts';

/** Sockets that send rubbish, too much, or never read: answered or closed, and everybody else goes on. */

/** Enough for signing people up in a row, and little enough to reach an event limit. */
const LIMIT_SCALE = 5;

let platform: TestPlatform;
let bystander: Person;
let mallory: Person;
/** Whose only socket reads nothing: presence tells when it is gone. */
let mute: Person;
let roomId: string;

beforeAll(async () => {
  platform = await startEmbedded({ env: { LYCEUM_LIMIT_SCALE: String(LIMIT_SCALE) } });
  bystander = await signInAs(platform, 'teacher');
  mallory = await newPerson(platform, 'Mallory');
  mute = await newPerson(platform, 'Mute');
  const group = { kind: 'group', name: 'Ours', memberIds: [mallory.id, mute.id] };
  roomId = (
    await eventually('a room with somebody new', async () => {
      const { status, body } = await bystander.api.post('/api/chat/rooms', group);
      return status === 201 ? (body as { id: string }) : undefined;
    })
  ).id;
}, 120_000);

afterAll(async () => {
  await platform?.dispose();
}, 60_000);

/** Runs the attack; nothing that clients can see may change, and nobody may notice. */
async function harmless(attack: () => Promise<void>): Promise<void> {
  const lists = () => stored([mallory, bystander], [`/api/chat/rooms/${roomId}/messages`]);
  const before = await lists();
  await unnoticed(platform, bystander, attack);
  expect(await lists()).toEqual(before);
  expect(await errorsLogged(platform)).toEqual([]);
}

const hello = (person = mallory) => `40${JSON.stringify({ token: person.token })}`;

/** Signed in to the main namespace by hand. */
async function joined(person = mallory): Promise<RawSocket> {
  const socket = await openRawSocket(platform);
  socket.frame(hello(person));
  await eventually('the namespace', async () => (/40\{"sid"/.test(socket.heard()) ? true : undefined));
  return socket;
}

describe('handshakes', () => {
  test('that are none: the contract’s problem', async () => {
    await harmless(async () => {
      for (const [path, code] of [
        ['/socket.io/?EIO=4', 'validation-failed'],
        ['/socket.io/?EIO=4&transport=polling', 'validation-failed'],
        ['/socket.io/?EIO=4&transport=__proto__', 'validation-failed'],
        ['/socket.io/../../x?transport=websocket', 'validation-failed'],
        // Dot segments are resolved once, and there are no sockets at what is left.
        ['/socket.io/../x?transport=websocket', 'not-found'],
      ] as const) {
        const socket = await openRawSocket(platform, path);
        await socket.closed;
        expect([path, faultsOf(parseRaw(socket.heard()), code)]).toEqual([path, []]);
      }
    });
  });

  test('of an Engine.IO that is not ours: refused, and the socket is closed', async () => {
    await harmless(async () => {
      for (const query of ['EIO=3&', 'EIO=99&', '', 'EIO=4&EIO=3&', 'EIO=4&sid=AAAAAAAAAAAAAAAAAAAA&']) {
        const socket = await openRawSocket(platform, `/socket.io/?${query}transport=websocket`);
        const early = Promise.race([socket.closed, Bun.sleep(15_000)]);
        await early;
        expect([query, socket.tcp.destroyed]).toEqual([query, true]);
        expectDiscreet(socket.heard());
      }
    });
  }, 60_000);
});

const DEEP = '['.repeat(100_000);
/** Frames that no client sends. */
const FRAMES: Record<string, (socket: RawSocket) => void> = {
  'no Engine.IO': (socket) => socket.frame('rubbish'),
  'an empty frame': (socket) => socket.frame(''),
  'binary without a packet': (socket) => socket.frame(Buffer.from([0, 1, 2, 255]), { opcode: 2 }),
  'a packet type that is none': (socket) => socket.frame('9'),
  'a message of nothing': (socket) => socket.frame('4'),
  'a namespace that is none': (socket) => socket.frame(`40/elsewhere,${hello().slice(2)}`),
  'a namespace of a prototype': (socket) => socket.frame('40/__proto__,{}'),
  'a handshake of no JSON': (socket) => socket.frame('40{"token":'),
  'a token that is an object': (socket) => socket.frame('40{"token":{"$gt":""}}'),
  'a handshake of a prototype': (socket) => socket.frame('40{"__proto__":{"token":"x"}}'),
  'an event of no JSON': (socket) => socket.frame('42["message:send",'),
  'an event that is no array': (socket) => socket.frame('42{"a":1}'),
  'an event without a name': (socket) => socket.frame('42[]'),
  'an event whose name is an object': (socket) => socket.frame('420[{"a":1},{}]'),
  'a reserved event': (socket) => socket.frame('420["disconnect","x"]'),
  'an event of a prototype': (socket) => socket.frame('420["__proto__",{}]'),
  'an acknowledgement nobody asked for': (socket) => socket.frame('4399999[{}]'),
  'an acknowledgement that is none': (socket) => socket.frame('43x'),
  'attachments that never come': (socket) =>
    socket.frame('4599-["message:send",{"_placeholder":true,"num":0}]'),
  'an attachment of another number': (socket) => {
    socket.frame('451-["message:send",{"_placeholder":true,"num":7}]');
    socket.frame(Buffer.from('x'), { opcode: 2 });
  },
  'more attachments than numbers': (socket) => socket.frame('4599999999999999999999-["a"]'),
  'deep JSON': (socket) => socket.frame(`420["message:send",${DEEP}${']'.repeat(DEEP.length)}]`),
  'deep JSON without an end': (socket) => socket.frame(`420${DEEP}`),
  'bytes that are no UTF-8': (socket) => socket.frame(Buffer.from([0x34, 0x32, 0xff, 0xfe])),
  'a payload of 300 KiB': (socket) => socket.frame(`420["message:send","${'x'.repeat(300 * 1024)}"]`),
  'a payload of 5 MiB': (socket) => socket.frame(`420["message:send","${'x'.repeat(5 * 2 ** 20)}"]`),
  'a frame without a mask': (socket) => socket.frame(hello(), { masked: false }),
  'an opcode that is none': (socket) => socket.frame('x', { opcode: 0x3 }),
  'reserved bits': (socket) => socket.frame('42["a"]', { first: 0xf1 }),
  'a continuation of nothing': (socket) => socket.frame('x', { opcode: 0x0 }),
  'a message in parts without an end': (socket) => {
    socket.frame('42["', { first: 0x01 });
    for (let index = 0; index < 40; index++) socket.frame('x'.repeat(60_000), { first: 0x00 });
  },
  'a ping that is too long': (socket) => socket.frame('x'.repeat(200), { opcode: 0x9 }),
  'a close frame with a code that is none': (socket) => socket.frame(Buffer.from([0, 1]), { opcode: 0x8 }),
  'bytes that are no frame': (socket) => void socket.tcp.write(Buffer.alloc(70_000, 0xff)),
};

describe('frames', () => {
  for (const [when, open] of [
    ['before signing in', () => openRawSocket(platform)],
    ['after it', () => joined()],
  ] as const) {
    test(`that are rubbish, ${when}`, async () => {
      await harmless(async () => {
        for (const send of Object.values(FRAMES)) {
          const socket = await open();
          send(socket);
          await Promise.race([socket.closed, Bun.sleep(100)]);
          // Whatever it makes of that, what it says is fit for a stranger.
          expectDiscreet(socket.heard());
          socket.tcp.destroy();
        }
      });
    }, 60_000);
  }
});

const send = (socket: Socket, event: string, body?: unknown) => ask(socket, event, body);

describe('events', () => {
  test('that are no good are acknowledged as such, and the connection stays', async () => {
    const foreign = crypto.randomUUID();
    const message = { roomId, clientId: 'x', body: 'x' };
    const cases: [string, unknown, string][] = [
      ['no-such-event', {}, 'not-found'],
      ['constructor', {}, 'not-found'],
      ['message:send', undefined, 'validation-failed'],
      ['message:send', null, 'validation-failed'],
      ['message:send', 'text', 'validation-failed'],
      ['message:send', [message], 'validation-failed'],
      ['message:send', Buffer.from('x'), 'validation-failed'],
      ['message:send', { ...message, isAdmin: true }, 'validation-failed'],
      ['message:send', JSON.parse(`{"__proto__":{"roomId":"${roomId}"},"body":"x"}`), 'validation-failed'],
      ['message:send', { ...message, body: 'x'.repeat(10_000) }, 'validation-failed'],
      ['message:send', { ...message, body: 'a\0b' }, 'validation-failed'],
      ['message:send', { ...message, body: '\ud800' }, 'validation-failed'],
      ['message:send', { ...message, body: '' }, 'validation-failed'],
      ['message:send', { ...message, body: Buffer.from('x') }, 'validation-failed'],
      ['message:send', { ...message, clientId: { $gt: '' } }, 'validation-failed'],
      ['message:send', { ...message, roomId: "x' or '1'='1" }, 'validation-failed'],
      ['message:send', { ...message, roomId: foreign }, 'not-found'],
      ['message:send', { ...message, replyTo: foreign }, 'validation-failed'],
      ['message:send', { ...message, attachments: [{ fileId: foreign }] }, 'validation-failed'],
      ['message:edit', { messageId: foreign, body: 'x' }, 'not-found'],
      ['message:delete', { messageId: 'x' }, 'validation-failed'],
      ['reaction:add', { messageId: foreign, emoji: 'not one' }, 'validation-failed'],
      ['reaction:add', { messageId: foreign, emoji: '👍' }, 'not-found'],
      ['room:join', { roomId, after: -1 }, 'validation-failed'],
      ['room:join', { roomId, after: 1e300 }, 'validation-failed'],
      ['room:join', { roomId: foreign }, 'not-found'],
      ['read', { roomId, seq: 0.5 }, 'validation-failed'],
      ['typing', { roomId: foreign }, 'not-found'],
      ['presence:list', { roomId: foreign }, 'not-found'],
      ['auth:refresh', { token: 'x.y.z' }, 'unauthenticated'],
      ['auth:refresh', { token: bystander.token }, 'forbidden'],
    ];
    const socket = await connect(platform, mallory.token);
    await harmless(async () => {
      for (const [event, body, code] of cases) {
        const title = `${event} ${JSON.stringify(body)?.slice(0, 80)}`;
        const ack = await send(socket, event, body).catch(String);
        expect([title, ack.ok, ack.error?.code]).toEqual([title, false, code]);
        expect(typeof ack.error.detail).toBe('string');
        expectDiscreet(JSON.stringify(ack));
      }
      const two = await socket.timeout(5_000).emitWithAck('room:join', { roomId }, { roomId });
      expect([two.ok, two.error.code]).toEqual([false, 'validation-failed']);
      // Nobody waits for these.
      for (const [event, body] of cases) socket.emit(event, body);
      expect((await send(socket, 'room:join', { roomId })).ok).toBe(true);
      expect(socket.connected).toBe(true);
    });
    socket.close();
  }, 60_000);

  test('of the chat mean nothing among the notifications', async () => {
    const socket = await connect(platform, mallory.token, '/notifications');
    await harmless(async () => {
      const ack = await send(socket, 'message:send', { roomId, clientId: 'x', body: 'x' });
      expect([ack.ok, ack.error.code]).toEqual([false, 'not-found']);
    });
    socket.close();
  });

  test('in a flood are refused with the time to wait, for that connection alone', async () => {
    const socket = await connect(platform, mallory.token);
    const FLOOD = 3_000;
    await harmless(async () => {
      const acks = await Promise.all(
        Array.from({ length: FLOOD }, () => socket.timeout(45_000).emitWithAck('room:join', { roomId })),
      );
      const refused = acks.filter((ack) => !ack.ok);
      expect(refused.length).toBeGreaterThan(FLOOD / 3);
      expect(new Set(refused.map((ack) => ack.error.code))).toEqual(new Set(['rate-limited']));
      expect(refused.every((ack) => ack.error.retryAfter >= 1)).toBe(true);
      expect(acks.filter((ack) => ack.ok).length).toBeGreaterThanOrEqual(120 * LIMIT_SCALE);
      await Bun.sleep(1_000);
      expect((await send(socket, 'room:join', { roomId })).ok).toBe(true);
    });
    socket.close();
  }, 60_000);
});

describe('open sockets', () => {
  test('of one person are bounded, and that is said', async () => {
    const MOST = 100 * LIMIT_SCALE;
    const open: Socket[] = [];
    const hoarder = await newPerson(platform, 'Hoarder');
    const dial = () =>
      connect(platform, hoarder.token).then(
        (socket) => void open.push(socket),
        (error) => error.data,
      );
    await unnoticed(platform, bystander, async () => {
      for (let dialled = 0; dialled < MOST; dialled += 50)
        await Promise.all(Array.from({ length: 50 }, dial));
      expect(open.length).toBe(MOST);
      const refused = await dial();
      expect(refused).toMatchObject({ code: 'rate-limited', retryAfter: 30 });
    });
    for (const socket of open) socket.close();
  }, 60_000);
});

const megabytes = async (): Promise<number> => {
  const status = await readFile(`/proc/${platform.pid}/status`, 'utf8');
  return Number(status.match(/VmRSS:\s+(\d+) kB/)![1]) / 1024;
};

describe('a client that never reads', () => {
  test('is cut off; memory stays bounded, and the others get every message in order', async () => {
    const [writer, reader] = [
      await connect(platform, bystander.token),
      await connect(platform, bystander.token),
    ];
    const body = '漢'.repeat(4_000);
    const post = (index: number) =>
      must(send(writer, 'message:send', { roomId, clientId: `m-${index}`, body }).then(asReply), 'message');
    // A page of these is 600 kB.
    for (let index = 0; index < 50; index++) await post(index);
    const got: number[] = [];
    await send(reader, 'room:join', { roomId });
    reader.on('message', (message: { seq: number }) => void got.push(message.seq));

    const silent = await joined(mute);
    const page = 50 * body.length * 3;
    const PAGES = 400;
    silent.tcp.pause();
    const before = await megabytes();
    let highest = before;
    const watch = setInterval(async () => {
      highest = Math.max(highest, await megabytes().catch(() => 0));
    }, 100);
    const online = async () => (await send(writer, 'presence:list', { roomId })).online as string[];
    expect(
      await eventually('its presence', async () => (await online()).includes(mute.id) || undefined),
    ).toBe(true);
    const from = got.length;
    const sent: number[] = [];
    await unnoticed(platform, bystander, async () => {
      for (let index = 0; index < PAGES; index++)
        silent.frame(`42${index}["room:join",${JSON.stringify({ roomId })}]`);
      for (let index = 100; index < 200; index++) sent.push((await post(index)).message.seq);
      await eventually(
        'the cut',
        async () => ((await online()).includes(mute.id) ? undefined : true),
        30_000,
      );
      await eventually('all messages', async () => (got.length >= from + sent.length ? true : undefined));
    });
    clearInterval(watch);
    expect(got.slice(from)).toEqual(sent);
    expect(highest - before).toBeLessThan(250);

    // What had been on its way is all it can still read.
    silent.tcp.resume();
    await silent.closed;
    expect(silent.bytesHeard()).toBeLessThan((PAGES * page) / 4);
    expect(await errorsLogged(platform)).toEqual([]);

    // Back again, it asks for what it has missed.
    const again = await connect(platform, mute.token);
    const missed: number[] = [];
    for (let after = sent[0]! - 1, more = true; more; after = missed.at(-1)!) {
      const page = await send(again, 'room:join', { roomId, after });
      missed.push(...page.messages.map(({ seq }: { seq: number }) => seq));
      more = page.hasMore;
    }
    expect(missed).toEqual(sent);
    again.close();
    writer.close();
    reader.close();
  }, 120_000);
});

/** An acknowledgement as `must` wants it. */
const asReply = (ack: { ok: boolean; error?: { code: string; detail: string } }) => ({
  status: ack.ok ? 200 : 400,
  body: ack.ok ? ack : ack.error,
});
