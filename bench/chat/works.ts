import { availableParallelism } from 'node:os';
import { median, printTable } from '../table.ts';
import type { Measured, Target } from './load.ts';
import { cpuOf, memoryOf, openFilesLimit, type Running, stolenCpu } from './processes.ts';
import type { Person, Stage } from './stage.ts';

/** The benchmark's works: each starts what it measures, and prints its table. */
export const WORKS = {
  room: { title: '200 sockets in one room, each sends again when it is acknowledged', run: room },
  open: {
    title: '1,000 messages/s, open loop, 100 rooms of 10, two chat processes, through the gateway',
    run: openLoop,
  },
  idle: { title: 'idle sockets on one chat process, through the gateway', run: idle },
  history: { title: 'history over HTTP, pages of 50', run: history },
  hot: { title: 'sends into one room of 10 sockets, 50 of each on the way', run: hot },
  nodes: {
    title: 'cost of more processes: each brings 100 sockets and 75 sends/s, rooms are spread over all',
    run: nodes,
  },
} satisfies Record<string, { title: string; run(stage: Stage): Promise<void> }>;
export type WorkName = keyof typeof WORKS;

/** Until the runtimes have compiled what runs often. */
const WARM_UP = 10;
/** The same where less runs. */
const LONG_WARM_UP = 30;
const SECONDS = 8;
const TURNS = 3;

/** Everybody in one room, or in rooms of `size`. */
function targetsOf(people: Person[], urls: string[], rooms: string[], size: number): Target[] {
  return people.map(({ token }, index) => ({
    url: urls[index % urls.length]!,
    token,
    roomId: rooms[Math.floor(index / size)]!,
  }));
}

const groupsOf = (people: Person[], size: number): Person[][] =>
  Array.from({ length: Math.ceil(people.length / size) }, (_, index) =>
    people.slice(index * size, (index + 1) * size),
  );

interface Costs {
  /** CPU seconds by name of the process, from the first send until all has settled. */
  costs: Map<string, number>;
  /** CPU seconds that the host of this virtual machine has kept: with many, times say little. */
  stolen: number;
}

/** Runs the load and tells what each process used meanwhile, the servers behind ours included. */
async function withCosts(
  stage: Stage,
  processes: Running[],
  load: () => Promise<Measured>,
): Promise<Measured & Costs> {
  const { postgres, redis, rabbitmq } = stage.servers;
  const all: [name: string, pid: number, tree: boolean][] = [
    ...processes.map(({ name, pid }): [string, number, boolean] => [name, pid, false]),
    ['PostgreSQL', postgres.pid, true],
    ['Redis', redis.pid, false],
    ['RabbitMQ', rabbitmq.pid, true],
  ];
  const before = all.map(([, pid, tree]) => cpuOf(pid, tree));
  const stolenBefore = stolenCpu();
  const measured = await load();
  const stolen = stolenCpu() - stolenBefore;
  const costs = new Map<string, number>();
  for (const [index, [name, pid, tree]] of all.entries())
    costs.set(name, (costs.get(name) ?? 0) + cpuOf(pid, tree) - before[index]!);
  return { ...measured, costs, stolen };
}

const perSecond = ({ delivered, seconds }: Measured): number => delivered / seconds;
const sendsPerSecond = ({ acked, seconds }: Measured): number => acked / seconds;
const whole = (value: number): string => Math.round(value).toLocaleString('en');
const ms = (value: number): string => value.toFixed(1);
const faults = ({ lost, doubled, outOfOrder, refused }: Measured): string =>
  `${lost} / ${doubled} / ${outOfOrder} / ${refused}`;
const FAULTS = 'lost / doubled / out of order / refused';

async function room(stage: Stage): Promise<void> {
  const systems: Record<string, () => Promise<Running>> = {
    'chat: rights, stored, numbered': () => stage.chat(),
    'Socket.IO on Node + Redis': () => stage.peer('node'),
    'Socket.IO on Bun + Redis': () => stage.peer('bun'),
    "Socket.IO's engine for Bun + Redis": () => stage.peer('bun-engine'),
    'bare WebSockets': () => stage.relay(),
  };
  const results = new Map<string, Measured[]>();
  for (let turn = 0; turn < TURNS; turn++) {
    for (const [name, begin] of Object.entries(systems)) {
      const people = await stage.people(200);
      const rooms = await stage.rooms([people]);
      const server = await begin();
      const loader = await stage.loader();
      await loader.connect(targetsOf(people, [server.url], rooms, 200));
      const load = { senders: 200, window: 1 };
      await loader.closedLoop({ seconds: WARM_UP, ...load });
      const measured = await loader.closedLoop({ seconds: SECONDS, ...load });
      results.set(name, [...(results.get(name) ?? []), measured]);
      loader.close();
      await server.stop();
    }
  }
  const base = median(results.get('Socket.IO on Node + Redis')!.map(perSecond));
  printTable(
    ['', 'deliveries/s', 'ratio', 'lowest – highest', 'sends/s', 'ack p50 ms', 'ack p99 ms', 'loader CPU'],
    [...results].map(([name, turns]) => {
      const rates = turns.map(perSecond);
      return [
        name,
        whole(median(rates)),
        (median(rates) / base).toFixed(2),
        `${whole(Math.min(...rates))} – ${whole(Math.max(...rates))}`,
        whole(median(turns.map(sendsPerSecond))),
        ms(median(turns.map(({ ackMs }) => ackMs.p50))),
        ms(median(turns.map(({ ackMs }) => ackMs.p99))),
        median(turns.map(({ cpu, seconds }) => cpu / seconds)).toFixed(2),
      ];
    }),
  );
  const ours = results.get('chat: rights, stored, numbered')!;
  console.log(`\n  goal: ratio at least 1.2; ours ${FAULTS}: ${ours.map(faults).join(', ')}`);
}

async function openLoop(stage: Stage): Promise<void> {
  const people = await stage.people(1_000);
  const rooms = await stage.rooms(groupsOf(people, 10));
  const chats = [await stage.chat(), await stage.chat()];
  const gateway = await stage.gateway(chats);
  const loader = await stage.loader();
  await loader.connect(targetsOf(people, [gateway.url], rooms, 10), 300);
  await loader.openLoop({ seconds: LONG_WARM_UP, rate: 1_000 });
  const measured = await withCosts(stage, [...chats, gateway], () =>
    loader.openLoop({ seconds: 20, rate: 1_000 }),
  );
  printTable(
    ['', 'p50 ms', 'p99 ms', 'max ms', 'goal'],
    (['ackMs', 'deliveryMs'] as const).map((what) => {
      const { p50, p99, max } = measured[what];
      return [what === 'ackMs' ? 'acknowledged' : 'delivered', ms(p50), ms(p99), ms(max), 'p99 < 50'];
    }),
  );
  console.log(`\n  ${whole(sendsPerSecond(measured))} sends/s, ${whole(perSecond(measured))} deliveries/s`);
  console.log(`  ${FAULTS}: ${faults(measured)} (goal: none)`);
  printCosts(measured);
  loader.close();
  for (const server of [gateway, ...chats]) await server.stop();
}

function printCosts({ costs, stolen, cpu, seconds, acked }: Measured & Costs): void {
  const all = [...costs, ['the load generator', cpu] as const];
  const parts = all.map(
    ([name, used]) => `${name} ${(used / seconds).toFixed(2)} (${whole((used / acked) * 1e6)})`,
  );
  console.log(`  cores (and µs a send): ${parts.join(', ')}`);
  console.log(
    `  of ${availableParallelism()} cores; kept by the machine's host: ${(stolen / seconds).toFixed(2)}`,
  );
}

const IDLE = 10_000;
/** Of a gateway for other things than sockets. */
const SPARE_FILES = 200;

async function idle(stage: Stage): Promise<void> {
  const chat = await stage.chat();
  // A gateway has two files open for a socket: where a process may not have as many, there are more gateways.
  const gateways: Running[] = [];
  while (gateways.length < Math.ceil((2 * IDLE + SPARE_FILES) / openFilesLimit()))
    gateways.push(await stage.gateway([chat]));
  const people = await stage.people(IDLE);
  const rooms = await stage.rooms(groupsOf(people, 10));
  const urls = gateways.map(({ url }) => url);
  const targets = targetsOf(people, urls, rooms, 10);
  const loader = await stage.loader();
  // Code is compiled and buffers are there before the first is counted.
  await loader.connect(targets.slice(0, 200), 200);
  await loader.disconnect();
  await Bun.sleep(5_000);
  const parts: [name: string, pids: number[]][] = [
    ['chat', [chat.pid]],
    [gateways.length === 1 ? 'gateway' : `${gateways.length} gateways`, gateways.map(({ pid }) => pid)],
  ];
  const sums = (read: (pid: number) => number) =>
    parts.map(([, pids]) => pids.reduce((sum, pid) => sum + read(pid), 0));
  const before = sums(memoryOf);
  const connected = await loader.connect(targets, 400);
  await Bun.sleep(30_000);
  const after = sums(memoryOf);
  const cpuBefore = sums((pid) => cpuOf(pid));
  await Bun.sleep(10_000);
  const cpu = sums((pid) => cpuOf(pid)).map((used, index) => (used - cpuBefore[index]!) / 10);
  printTable(
    ['', 'KB a socket', 'goal', 'MB before', 'MB with them', 'CPU at rest'],
    parts.map(([name], index) => [
      name,
      ((after[index]! - before[index]!) / IDLE / 1024).toFixed(1),
      '≤ 10',
      whole(before[index]! / 1e6),
      whole(after[index]! / 1e6),
      `${(cpu[index]! * 100).toFixed(1)} %`,
    ]),
  );
  const again = await loader.reconnect(450);
  console.log(
    `\n  ${whole(connected.connected)} held; all of them again in ${again.seconds.toFixed(1)} s, ${again.failed} failed (goal: 30 s, none)`,
  );
  if (again.errors.length > 0) console.log(`  ${again.errors.join('; ')}`);
  loader.close();
  for (const server of [...gateways, chat]) await server.stop();
}

async function history(stage: Stage): Promise<void> {
  const chat = await stage.chat();
  const people = await stage.people(2);
  const sizes = [1_000, 1_000_000];
  const rooms: string[] = [];
  for (const size of sizes) rooms.push(...(await stage.rooms([people], size)));
  const get = async (roomId: string, query: string): Promise<number> => {
    const started = performance.now();
    const reply = await fetch(`${chat.url}/api/chat/rooms/${roomId}/messages?limit=50${query}`, {
      headers: { authorization: `Bearer ${people[0]!.token}` },
    });
    const { items } = (await reply.json()) as { items: unknown[] };
    if (items.length !== 50) throw new Error(`history: ${reply.status}, ${items.length} messages`);
    return performance.now() - started;
  };
  const pages: Record<string, (size: number, index: number) => string> = {
    newest: () => '',
    'after, from the middle': (size, index) => `&after=${size / 2 + index}`,
    'before, at random': (size) => `&before=${51 + Math.floor(Math.random() * (size - 51))}`,
  };
  const rows = [];
  for (const [name, query] of Object.entries(pages)) {
    const times: number[][] = sizes.map(() => []);
    for (let index = 0; index < 600; index++)
      for (const [place, size] of sizes.entries())
        times[place]!.push(await get(rooms[place]!, query(size, index % 400)));
    // The first ones compile the code and read the table from disk.
    const [small, large] = times.map((list) => median(list.slice(100))) as [number, number];
    rows.push([name, small.toFixed(2), large.toFixed(2), (large / small).toFixed(2), 'flat']);
  }
  printTable(['page', 'ms, 10³ messages', 'ms, 10⁶ messages', 'ratio', 'goal'], rows);
  await chat.stop();
}

async function hot(stage: Stage): Promise<void> {
  const turns: (Measured & Costs)[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    const people = await stage.people(10);
    const rooms = await stage.rooms([people]);
    const chat = await stage.chat();
    const loader = await stage.loader();
    await loader.connect(targetsOf(people, [chat.url], rooms, 10));
    const load = { senders: 10, window: 50 };
    await loader.closedLoop({ seconds: WARM_UP, ...load });
    turns.push(await withCosts(stage, [chat], () => loader.closedLoop({ seconds: SECONDS, ...load })));
    loader.close();
    await chat.stop();
  }
  const rates = turns.map(sendsPerSecond);
  printTable(
    ['', 'sends/s', 'lowest – highest', 'goal', 'deliveries/s', 'ack p50 ms', 'ack p99 ms'],
    [
      [
        'stored and acknowledged',
        whole(median(rates)),
        `${whole(Math.min(...rates))} – ${whole(Math.max(...rates))}`,
        '≥ 5,000',
        whole(median(turns.map(perSecond))),
        ms(median(turns.map(({ ackMs }) => ackMs.p50))),
        ms(median(turns.map(({ ackMs }) => ackMs.p99))),
      ],
    ],
  );
  console.log(`\n  ${FAULTS}: ${turns.map(faults).join(', ')}`);
  printCosts(turns.at(-1)!);
}

async function nodes(stage: Stage): Promise<void> {
  const rows: { count: number; measured: Measured; perCore: number }[] = [];
  for (const count of [1, 2, 4]) {
    const people = await stage.people(100 * count);
    const rooms = await stage.rooms(groupsOf(people, 20));
    const chats: Running[] = [];
    for (let index = 0; index < count; index++) chats.push(await stage.chat());
    const loader = await stage.loader();
    await loader.connect(
      targetsOf(
        people,
        chats.map(({ url }) => url),
        rooms,
        20,
      ),
    );
    // As much for each process, or those that share a load would be compared with one that gathers more at a time.
    const load = { rate: 75 * count };
    await loader.openLoop({ seconds: LONG_WARM_UP, ...load });
    const measured = await withCosts(stage, chats, () => loader.openLoop({ seconds: 20, ...load }));
    rows.push({ count, measured, perCore: measured.deliveredInAll / measured.costs.get('chat')! });
    loader.close();
    for (const chat of chats) await chat.stop();
  }
  const [one] = rows as [(typeof rows)[number]];
  printTable(
    ['chat processes', 'deliveries a CPU second', 'ratio', 'goal', 'ack p99 ms', FAULTS],
    rows.map(({ count, measured, perCore }) => [
      String(count),
      whole(perCore),
      (perCore / one.perCore).toFixed(2),
      '≥ 0.85',
      ms(measured.ackMs.p99),
      faults(measured),
    ]),
  );
}
