import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { io } from 'socket.io-client';
import type { ClientAcks, Message } from '../../../shared/contracts/chat.ts';
import type { EphemeralStore } from '../../../shared/ports/ephemeral-store.ts';
import { seededRandom } from '../../../shared/seeded-random.ts';
import { type RunningService, startService } from '../../../shared/service.ts';
import { ChatClient } from '../../../shared/web/chat-client.ts';
import { createChat } from '../service.ts';
import {
  ask,
  type Client,
  connect,
  disconnectAll,
  must,
  openSchool,
  type School,
  startChat,
  until,
  type World,
} from '../test-school.ts';
import { RoomView } from '../test-view.ts';

setDefaultTimeout(60_000);

/** The store that processes share, with the words between them lost at will. */
function forgetful(store: EphemeralStore): EphemeralStore & { loses: (channel: string) => boolean } {
  const wrapper = {
    ...store,
    loses: (_channel: string): boolean => false,
    publish: async (channel: string, message: string): Promise<void> => {
      if (!wrapper.loses(channel)) await store.publish(channel, message);
    },
  };
  return wrapper;
}

let world: World;
let twin: RunningService;
let twinUrl: string;
let between: ReturnType<typeof forgetful>;
beforeAll(async () => {
  world = await startChat(1000);
  // Two processes on one database, of which the second hears and speaks over a store that may lose words.
  between = forgetful(world.deps.ephemeral);
  const settings = { ...world.deps.settings, limitScale: 1000 };
  const deps = { ...world.deps, ephemeral: between, settings };
  twin = await startService(await createChat(deps), deps, { hostname: '127.0.0.1', port: 0 });
  twinUrl = `http://127.0.0.1:${twin.port}`;
});
afterEach(() => {
  disconnectAll();
  between.loses = () => false;
});
afterAll(async () => {
  await twin.stop(1_000);
  await world.stop();
});

const history = async (school: School, as = school.learner): Promise<Message[]> => {
  const all: Message[] = [];
  for (;;) {
    const after = all.at(-1)?.seq ?? 0;
    const { body } = await world.call(
      'GET',
      `/api/chat/rooms/${school.roomId}/messages?after=${after}&limit=100`,
      {
        as,
      },
    );
    all.push(...body.items);
    if (body.items.length < 100) return all;
  }
};

/** Messages, replies, edits, deletions and reactions of two people, mixed by chance. */
async function liveOn(school: School, clients: Client[], steps: number, random: (below: number) => number) {
  const own: string[][] = clients.map(() => []);
  const all: string[] = [];
  const emoji = ['👍', '🎉', '❤️'];
  for (let step = 0; step < steps; step++) {
    const who = random(clients.length);
    const client = clients[who]!;
    const kind = all.length === 0 ? 0 : random(10);
    const any = all[random(Math.max(1, all.length))]!;
    if (kind < 4) {
      const input = { roomId: school.roomId, clientId: `${step}-${random(1e9)}`, body: `Message ${step}` };
      const { message } = await must(
        client,
        'message:send',
        kind === 3 && any ? { ...input, replyTo: any } : input,
      );
      all.push(message.id);
      own[who]!.push(message.id);
    } else if (kind < 6) {
      const mine = own[who]![random(Math.max(1, own[who]!.length))];
      if (mine) await ask(client, 'message:edit', { messageId: mine, body: `Edited in step ${step}` });
    } else if (kind < 9) {
      const event = random(3) === 0 ? 'reaction:remove' : 'reaction:add';
      await ask(client, event, { messageId: any, emoji: emoji[random(3)]! });
    } else {
      const mine = own[who]![random(Math.max(1, own[who]!.length))];
      if (mine) await ask(client, 'message:delete', { messageId: mine });
    }
  }
}

describe('a client that was away ends with the state of one that stayed', () => {
  for (const seed of [1, 2, 3]) {
    test(`whatever happened meanwhile (seed ${seed})`, async () => {
      const random = seededRandom(seed);
      const school = await openSchool(world);
      const { roomId, learner, teacher } = school;
      const writers = [await connect(world.url, teacher.token), await connect(twinUrl, learner.token)];
      const stayed = new RoomView(roomId, learner.userId);
      await stayed.attach(await connect(world.url, learner.token));
      const away = new RoomView(roomId, learner.userId);
      const first = await connect(twinUrl, learner.token);
      await away.attach(first);

      await liveOn(school, writers, 60, random);
      await until(async () => stayed.seq === (await history(school)).length && away.seq === stayed.seq);
      first.disconnect();
      await liveOn(school, writers, 120, random);
      const talking = liveOn(school, writers, 60, random);
      await away.attach(await connect(twinUrl, learner.token));
      await talking;

      const wanted = await history(school);
      await until(() => stayed.seq === wanted.length && away.seq === wanted.length);
      const room = (await world.call('GET', `/api/chat/rooms/${roomId}`, { as: learner })).body;
      await until(() => stayed.change === room.lastChange && away.change === room.lastChange);
      expect(stayed.messages).toEqual(wanted);
      expect(away.messages).toEqual(wanted);
      // Nothing was lost between the processes, so whoever stayed never had to ask, and got each message once.
      expect(stayed.gaps).toBe(0);
      expect(stayed.live).toEqual(wanted.map(({ seq }) => seq));
    });
  }

  test('whoever joins while others talk gets a page first, and then all that is newer, in order and once', async () => {
    const school = await openSchool(world);
    const { roomId, learner, teacher } = school;
    const writers = [await connect(world.url, teacher.token), await connect(twinUrl, learner.token)];
    const changeEvents = new Set<string>(['message:edited', 'message:deleted', 'reaction', 'thread', 'pin']);
    const joiners: { page: ClientAcks['room:join']; messages: number[]; changes: number[] }[] = [];
    let early = 0;
    let ended = false;
    const talking = liveOn(school, writers, 80, seededRandom(6)).finally(() => {
      ended = true;
    });
    while (!ended) {
      const client = await connect(joiners.length % 2 ? world.url : twinUrl, learner.token);
      let answered = false;
      const messages: number[] = [];
      const changes: number[] = [];
      client.onAny((event: string, about: Message) => {
        if (event !== 'message' && !changeEvents.has(event)) return;
        if (!answered) early++;
        if (event === 'message') messages.push(about.seq);
        else changes.push(about.changeSeq);
      });
      const page = await new Promise<ClientAcks['room:join']>((resolve, reject) => {
        client.emit('room:join', { roomId, after: 0, changesAfter: 0 }, (reply) => {
          answered = true;
          if (reply.ok) resolve(reply);
          else reject(new Error(reply.error.detail));
        });
      });
      joiners.push({ page, messages, changes });
    }
    await talking;
    const { lastSeq, lastChange } = (await world.call('GET', `/api/chat/rooms/${roomId}`, { as: learner }))
      .body;
    const from = (start: number, end: number) => Array.from({ length: end - start }, (_, n) => start + n + 1);
    await until(() =>
      joiners.every(({ page, messages, changes }) => {
        const last = { seq: messages.at(-1) ?? page.lastSeq, change: changes.at(-1) ?? page.lastChange };
        return last.seq === lastSeq && last.change === lastChange;
      }),
    );
    expect(early).toBe(0);
    for (const { page, messages, changes } of joiners) {
      expect(page.messages.map(({ seq }) => seq)).toEqual(from(0, page.lastSeq));
      expect(messages).toEqual(from(page.lastSeq, lastSeq));
      expect(changes.filter((number) => number > page.lastChange)).toEqual(from(page.lastChange, lastChange));
      expect(changes).toEqual([...new Set(changes)].sort((a, b) => a - b));
      // What is told of as changed is in the page, and newer changes have their numbers still to come.
      const told = new Map(page.changes.map((message) => [message.id, message.changeSeq]));
      for (const { id, changeSeq } of page.messages)
        expect(told.get(id) ?? 0).toBeGreaterThanOrEqual(changeSeq);
      expect([...told.keys()].filter((id) => !page.messages.some((message) => message.id === id))).toEqual(
        [],
      );
    }
  });

  test('over HTTP too: changes in pages, each message once, as it is now', async () => {
    const school = await openSchool(world);
    const { roomId, learner } = school;
    const clients = [await connect(world.url, school.teacher.token), await connect(world.url, learner.token)];
    await liveOn(school, clients, 80, seededRandom(4));
    const changed: Message[] = [];
    let cursor = 0;
    for (let more = true; more; ) {
      const reply = await world.call('GET', `/api/chat/rooms/${roomId}/changes?after=${cursor}&limit=7`, {
        as: learner,
      });
      changed.push(...reply.body.items);
      cursor = reply.body.lastChange;
      more = reply.body.hasMore;
    }
    const wanted = (await history(school)).filter(({ changeSeq }) => changeSeq > 0);
    expect(changed).toEqual(wanted.sort((a, b) => a.changeSeq - b.changeSeq));
    expect(cursor).toBe(
      (await world.call('GET', `/api/chat/rooms/${roomId}`, { as: learner })).body.lastChange,
    );
    const stranger = await openSchool(world);
    const refused = await world.call('GET', `/api/chat/rooms/${roomId}/changes`, { as: stranger.learner });
    expect(refused.status).toBe(404);
  });
});

describe('words between processes are lost', () => {
  test('every second one: everybody still ends with everything, messages once and in order', async () => {
    const school = await openSchool(world);
    const { roomId, learner, teacher } = school;
    let count = 0;
    between.loses = (channel) => channel === 'chat:messages' && ++count % 2 === 0;
    const writers = [await connect(twinUrl, teacher.token), await connect(twinUrl, learner.token)];
    const view = new RoomView(roomId, learner.userId);
    await view.attach(await connect(world.url, learner.token));
    await liveOn(school, writers, 120, seededRandom(5));
    const wanted = await history(school);
    const { lastChange } = (await world.call('GET', `/api/chat/rooms/${roomId}`, { as: learner })).body;
    await until(() => view.seq === wanted.length && view.change === lastChange, 10_000);
    expect(view.messages).toEqual(wanted);
    expect(view.live).toEqual(wanted.map(({ seq }) => seq));
    expect(view.gaps).toBeGreaterThan(0);
  });

  test('all of them, then silence: the message comes, and a lost change is noticed by the beat, within 5 s', async () => {
    const { roomId, learner, teacher } = await openSchool(world);
    const ada = await connect(twinUrl, teacher.token);
    const view = new RoomView(roomId, learner.userId);
    const ben = await connect(world.url, learner.token);
    await view.attach(ben);
    const beats: object[] = [];
    ben.on('room:beat', (beat) => beats.push(beat));
    between.loses = () => true;
    const { message } = await must(ada, 'message:send', { roomId, clientId: 'quiet', body: 'Before' });
    await until(() => view.seq === 1, 5_000);
    await must(ada, 'message:edit', { messageId: message.id, body: 'After' });
    await until(() => view.messages[0]?.body === 'After', 5_000);
    expect(beats.at(-1)).toEqual({ roomId, lastSeq: 1, lastChange: 1 });
    // A room where nothing moves has no beat.
    const told = beats.length;
    await new Promise((resolve) => setTimeout(resolve, 4_500));
    expect(beats.length).toBe(told);
  });

  test('of a message and of my own reaction to it: when the message comes, late, I know the reaction as mine', async () => {
    const { roomId, learner, teacher } = await openSchool(world);
    // A process that hears of messages, but never looks for them by itself.
    const chat = { ...(await createChat(world.deps)), jobs: [] };
    const third = await startService(chat, world.deps, { hostname: '127.0.0.1', port: 0 });
    const url = `http://127.0.0.1:${third.port}`;
    const ada = await connect(twinUrl, teacher.token);
    const bensPhone = await connect(twinUrl, learner.token);
    const view = new RoomView(roomId, learner.userId);
    await view.attach(await connect(url, learner.token));
    const client = new ChatClient({ io, url, token: () => learner.token });
    const room = await client.join(roomId);
    between.loses = () => true;
    const { message } = await must(ada, 'message:send', { roomId, clientId: 'late', body: 'Before' });
    await must(bensPhone, 'reaction:add', { messageId: message.id, emoji: '🎉' });
    between.loses = () => false;
    await must(ada, 'message:send', { roomId, clientId: 'next', body: 'Next' });
    await must(ada, 'message:edit', { messageId: message.id, body: 'After' });
    await until(() => view.change === 2 && room.change === 2);
    const wanted = await history({ roomId, learner } as School);
    expect(wanted[0]).toMatchObject({ body: 'After', reactions: [{ emoji: '🎉', count: 1, mine: true }] });
    expect(view.messages).toEqual(wanted);
    expect(room.messages).toEqual(wanted);
    expect(view.live).toEqual([1, 2]);
    client.close();
    await third.stop(1_000);
  });

  test('a change never comes before its message, nor out of its turn', async () => {
    const { roomId, learner, teacher } = await openSchool(world);
    const ada = await connect(twinUrl, teacher.token);
    const ben = await connect(world.url, learner.token);
    await must(ben, 'room:join', { roomId });
    const heard: string[] = [];
    ben.on('message', ({ seq }) => heard.push(`message ${seq}`));
    ben.on('message:edited', ({ seq, changeSeq }) => heard.push(`change ${changeSeq} of ${seq}`));
    // The message's own word is lost, its edit's is not.
    let lost = 0;
    between.loses = (channel) => channel === 'chat:messages' && lost++ === 0;
    const { message } = await must(ada, 'message:send', { roomId, clientId: 'a', body: 'One' });
    await must(ada, 'message:edit', { messageId: message.id, body: 'Two' });
    await must(ada, 'message:edit', { messageId: message.id, body: 'Three' });
    await until(() => heard.length === 3);
    expect(heard).toEqual(['message 1', 'change 1 of 1', 'change 2 of 1']);
  });
});

describe('a process that is asked to stop', () => {
  test('answers what it has under way, and moves its clients over a while', async () => {
    const settings = { ...world.deps.settings, limitScale: 1000 };
    const deps = { ...world.deps, settings };
    const third = await startService(await createChat(deps), deps, { hostname: '127.0.0.1', port: 0 });
    const { roomId, learner, teacher } = await openSchool(world);
    const url = `http://127.0.0.1:${third.port}`;
    const clients = await Promise.all(
      Array.from({ length: 300 }, (_, index) => connect(url, (index % 2 ? learner : teacher).token)),
    );
    const closed: { at: number; code: number | undefined }[] = [];
    for (const client of clients) {
      client.on('disconnect', (_reason, details) => {
        const { context } = details as { context?: { code?: number } };
        closed.push({ at: performance.now(), code: context?.code });
      });
    }
    const acks = clients.map((client, index) =>
      ask(client, 'message:send', { roomId, clientId: `${index}`, body: 'on the way' }),
    );
    // Some are queued, some not even read.
    await new Promise((resolve) => setTimeout(resolve, 10));
    await third.stop(5_000);
    await until(() => closed.length === clients.length);
    const outcomes = await Promise.all(
      acks.map((ack) =>
        Promise.race([ack, new Promise<'lost'>((resolve) => setTimeout(() => resolve('lost'), 100))]),
      ),
    );
    const acknowledged = outcomes.flatMap((outcome) =>
      outcome !== 'lost' && outcome.ok ? outcome.message.clientId : [],
    );
    const refused = outcomes.filter((outcome) => outcome !== 'lost' && !outcome.ok);
    const stored = (await history({ roomId, learner } as School)).map(({ clientId }) => clientId);
    // What was stored was also acknowledged: nobody was cut off between the two.
    expect([...acknowledged].sort()).toEqual([...stored].sort());
    expect(acknowledged.length).toBeGreaterThan(0);
    // Whoever was not acknowledged knows that it must send again.
    for (const ack of refused) expect(ack).toMatchObject({ error: { code: 'upstream-unavailable' } });
    expect(
      outcomes.filter((outcome) => outcome === 'lost').length + acknowledged.length + refused.length,
    ).toBe(300);
    expect(new Set(closed.map(({ code }) => code))).toEqual(new Set([1012]));
    const spread = Math.max(...closed.map(({ at }) => at)) - Math.min(...closed.map(({ at }) => at));
    expect(spread).toBeGreaterThan(50);
  });
});
