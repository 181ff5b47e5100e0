import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { Socket } from 'socket.io-client';
import { connect, eventually, must, newPerson, type Person, signInAs } from '../support/people.ts';
import { readCluster, startCluster, type TestPlatform } from '../support/platform.ts';

setDefaultTimeout(240_000);

/**
 * What people with an unmodified client notice when a chat process or a server behind it goes: two chats behind two
 * gateways, the plain adapter. chat-checker.test.ts looks at every promise at once; here each is named.
 */
describe('two chats', () => {
  let platform: TestPlatform;
  let ada: Person;
  let ben: Person;
  let roomId: string;
  const open = new Set<Socket>();

  beforeAll(async () => {
    platform = await startCluster({
      args: ['--gateway', '2', '--chat', '2'],
      env: { LYCEUM_ACCESS_TOKEN_SECONDS: '3600' },
    });
    ada = await signInAs(platform, 'teacher');
    ben = await newPerson(platform, 'Ben');
    roomId = (
      await eventually('the room', async () => {
        const group = { kind: 'group', name: 'Nodes', memberIds: [ben.id] };
        const { status, body } = await ada.api.post('/api/chat/rooms', group);
        return status === 201 ? (body as { id: string }) : undefined;
      })
    ).id;
  }, 300_000);
  afterEach(() => {
    for (const socket of open) socket.close();
    open.clear();
  });
  afterAll(async () => {
    await platform?.dispose();
  }, 60_000);

  // biome-ignore lint/suspicious/noExplicitAny: acknowledgements of many events
  const ask = (socket: Socket, event: string, input: object): Promise<any> =>
    socket.timeout(30_000).emitWithAck(event, input);

  /** Somebody who joins at every connect and asks for what was missed; `seen` has the numbers as they came. */
  async function listener(person: Person): Promise<{ socket: Socket; seen: number[] }> {
    const socket = await connect(platform, person.token);
    open.add(socket);
    const { lastSeq } = await ask(socket, 'room:join', { roomId });
    const view = { socket, seen: [] as number[] };
    let last: number = lastSeq;
    const take = ({ seq }: { seq: number }): void => {
      if (seq !== last + 1) return;
      last = seq;
      view.seen.push(seq);
    };
    const catchUp = async (): Promise<void> => {
      for (let more = true; more; ) {
        const page = await ask(socket, 'room:join', { roomId, after: last });
        if (!page.ok) throw new Error(page.error.code);
        for (const message of page.messages) take(message);
        more = page.hasMore;
      }
    };
    socket.on('message', take);
    socket.on('room:beat', ({ lastSeq }: { lastSeq: number }) => {
      if (lastSeq > last) catchUp().catch(() => {});
    });
    // A connection that ends while it asks is followed by the next.
    socket.on('connect', () => void catchUp().catch(() => {}));
    return view;
  }
  const listeners = (count: number) => Promise.all(Array.from({ length: count }, () => listener(ben)));

  /** Writes one after the other, each said again under its id until it is acknowledged. */
  async function write(count: number, pauseMs = 20): Promise<number[]> {
    const numbers: number[] = [];
    for (let n = 0; n < count; n++) {
      const body = { clientId: crypto.randomUUID(), body: `${n}` };
      const path = `/api/chat/rooms/${roomId}/messages`;
      numbers.push((await must(ada.api.post(path, body), 'message')).seq);
      await Bun.sleep(pauseMs);
    }
    return numbers;
  }
  const chats = async () => (await readCluster(platform)).processes.filter(({ name }) => name === 'chat');
  const pidGone = (pid: number) =>
    eventually(
      'its successor',
      async () => {
        const now = await chats();
        return now.length === 2 && now.every((chat) => chat.pid !== pid) ? true : undefined;
      },
      120_000,
    );
  const allSee = (views: { seen: number[] }[], wanted: number[]) =>
    eventually(
      'all of it',
      async () => (views.every(({ seen }) => seen.length >= wanted.length) ? true : undefined),
      60_000,
    );

  test('one is asked to stop: its sockets move to the other, and nobody loses or doubles a message', async () => {
    const views = await listeners(40);
    let moved = 0;
    for (const { socket } of views) socket.on('disconnect', () => moved++);
    const { pid } = (await chats())[0]!;
    process.kill(pid, 'SIGTERM');
    // It lets gateways know for some seconds before it moves anybody.
    const wanted: number[] = [];
    let gone = false;
    const going = pidGone(pid).then(() => {
      gone = true;
    });
    while (!gone) wanted.push(...(await write(5)));
    await going;
    await allSee(views, wanted);
    for (const { seen } of views) expect(seen).toEqual(wanted);
    expect(moved).toBeGreaterThan(0);
    expect(moved).toBeLessThan(views.length);
  });

  test('Redis goes: what is said meanwhile comes all the same', async () => {
    const views = await listeners(8);
    const { pid } = (await readCluster(platform)).servers.redis;
    process.kill(pid, 'SIGKILL');
    const wanted = await write(3);
    await allSee(views, wanted);
    for (const { seen } of views) expect(seen).toEqual(wanted);
    await eventually(
      'Redis',
      async () => ((await readCluster(platform)).servers.redis.pid === pid ? undefined : true),
      60_000,
    );
    // Quiet, with the words between the processes lost; then one more, by whichever process.
    const last = await write(1);
    await allSee(views, [...wanted, ...last]);
  });

  test('PostgreSQL goes: sends are refused so that one can try again, and that works once it is back', async () => {
    const { socket } = await listener(ada);
    const views = await listeners(4);
    const { pid } = (await readCluster(platform)).servers.postgres;
    process.kill(pid, 'SIGINT');
    const input = { roomId, clientId: crypto.randomUUID(), body: 'Through the outage' };
    const codes = new Set<string>();
    const message = await eventually(
      'an acknowledgement',
      async () => {
        const ack = await ask(socket, 'message:send', input).catch(() => ({ ok: false, error: {} }));
        if (ack.ok) return codes.size > 0 ? ack.message : undefined;
        if (ack.error.code) codes.add(ack.error.code);
        return undefined;
      },
      90_000,
    );
    expect([...codes]).toEqual(['upstream-unavailable']);
    await allSee(views, [message.seq]);
    for (const { seen } of views) expect(seen).toEqual([message.seq]);
  });

  test('both are killed: who does not come back is no longer shown as present', async () => {
    const { socket } = await listener(ada);
    const { socket: his } = await listener(ben);
    const online = async (): Promise<string[]> =>
      (await ask(socket, 'presence:list', { roomId })).online ?? [];
    await eventually('his presence', async () => ((await online()).includes(ben.id) ? true : undefined));
    const before = await chats();
    for (const { pid } of before) process.kill(pid, 'SIGKILL');
    his.close();
    for (const { pid } of before) await pidGone(pid);
    await eventually(
      'his absence',
      async () => {
        const now = await online().catch(() => [ben.id]);
        return now.includes(ada.id) && !now.includes(ben.id) ? true : undefined;
      },
      120_000,
    );
  });
});
