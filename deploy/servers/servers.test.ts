import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { existsSync, statSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'amqplib';
import { Redis } from 'ioredis';
import { Client } from 'minio';
import { createTransport } from 'nodemailer';
import postgres from 'postgres';
import { down, SERVER_NAMES, type Servers, startOne, status, up } from './servers.ts';

setDefaultTimeout(60_000);

// A folder of its own (mode 0700, so PostgreSQL's account cannot reach it): the developer's servers are not touched.
let dir: string;
let servers: Servers;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'lyceum-servers-'));
  servers = await up({ dir });
}, 600_000);

afterAll(() => down({ dir, remove: true }), 60_000);

const pids = (of: Servers) => SERVER_NAMES.map((name) => of[name].pid);

async function sql<T>(use: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const client = postgres(servers.postgres.url, { max: 1, onnotice: () => {} });
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

function s3(): Client {
  const { hostname, port } = new URL(servers.s3.url);
  const { accessKey, secretKey } = servers.s3;
  return new Client({ endPoint: hostname, port: Number(port), useSSL: false, accessKey, secretKey });
}

async function mailCount(to: string): Promise<number> {
  const reply = await fetch(`${servers.smtp.httpUrl}/dev/mail.json?to=${to}`);
  return ((await reply.json()) as { items: unknown[] }).items.length;
}

describe('servers that are up', () => {
  test('answer at the addresses and with the credentials given', async () => {
    const [row] = await sql((db) => db`select current_database() as name, current_setting('fsync') as fsync`);
    expect(row).toEqual({ name: 'lyceum', fsync: 'on' });

    const redis = new Redis(servers.redis.url);
    expect(await redis.ping()).toBe('PONG');
    redis.disconnect();

    const broker = await connect(servers.rabbitmq.url);
    const channel = await broker.createChannel();
    await channel.assertQueue('probe', { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    await broker.close();

    await s3().makeBucket('probe');
    expect(await s3().bucketExists('probe')).toBe(true);

    await createTransport(servers.smtp.url).sendMail({
      from: 'me@lyceum.test',
      to: 'you@lyceum.test',
      text: 'x',
    });
    expect(await mailCount('you@lyceum.test')).toBe(1);
  });

  test('are closed to those without the password', async () => {
    const { port } = new URL(servers.redis.url);
    const redis = new Redis({ port: Number(port), enableReadyCheck: false });
    redis.on('error', () => {});
    await expect(redis.ping()).rejects.toThrow('NOAUTH');
    redis.disconnect();
    const guest = servers.rabbitmq.url.replace(/lyceum:[^@]+/, 'guest:guest');
    await expect(connect(guest)).rejects.toThrow();
    expect(statSync(join(dir, 'servers.json')).mode & 0o777).toBe(0o600);
  });

  test('are reused by the next up, also by two at once', async () => {
    const [one, two] = await Promise.all([up({ dir }), up({ dir })]);
    expect(pids(one)).toEqual(pids(servers));
    expect(two).toEqual(one);
  });
});

describe('a server that is killed', () => {
  test('comes back at the same address with what it had acknowledged', async () => {
    await sql((db) => db`create table kept as select 42 as answer`);
    const redis = new Redis(servers.redis.url);
    await redis.set('kept', '42');
    redis.disconnect();
    const broker = await connect(servers.rabbitmq.url);
    const channel = await broker.createConfirmChannel();
    await channel.assertQueue('kept', { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    channel.sendToQueue('kept', Buffer.from('kept'), { persistent: true });
    await channel.waitForConfirms();
    await broker.close();
    await s3().makeBucket('kept');
    await s3().putObject('kept', 'answer', Buffer.from('42'));
    await createTransport(servers.smtp.url).sendMail({
      from: 'me@lyceum.test',
      to: 'kept@lyceum.test',
      text: 'x',
    });
    // A statement that runs when its server is killed goes on for a while and holds the data folder.
    const busy = postgres(servers.postgres.url, { max: 1, onnotice: () => {} });
    const statement = busy`select pg_sleep(600)`.catch(() => 'cut off');
    await sql((db) =>
      waitUntil(
        async () => (await db`select from pg_stat_activity where query like 'select pg_sleep%'`).length > 0,
      ),
    );

    // RabbitMQ 3 puts a new quorum queue into its directory (Erlang's dets) up to 3 s after it confirmed it; killed
    // within that time, it comes back with a queue that never finds its leader.
    await Bun.sleep(5_000);

    for (const pid of pids(servers)) process.kill(pid, 'SIGKILL');
    expect(await statement).toBe('cut off');
    await busy.end({ timeout: 0 });
    await Promise.all(SERVER_NAMES.map((name) => startOne(name, { dir })));

    const before = servers;
    servers = await up({ dir });
    for (const name of SERVER_NAMES) {
      expect(servers[name].url).toBe(before[name].url);
      expect(servers[name].pid).not.toBe(before[name].pid);
    }
    const found = await status({ dir });
    for (const name of SERVER_NAMES) expect(found[name]).toMatchObject({ running: true, ready: true });

    expect(await sql((db) => db`select answer from kept`)).toMatchObject([{ answer: 42 }]);
    const again = new Redis(servers.redis.url);
    expect(await again.get('kept')).toBe('42');
    again.disconnect();
    const reader = await connect(servers.rabbitmq.url);
    const queue = await reader.createChannel();
    await waitUntil(async () => {
      const message = await queue.get('kept', { noAck: true });
      return message && message.content.toString() === 'kept';
    });
    await reader.close();
    expect((await s3().statObject('kept', 'answer')).size).toBe(2);
    expect(await mailCount('kept@lyceum.test')).toBe(1);
  }, 120_000);
});

describe('servers that are taken down', () => {
  test('are gone, and come up again with their data', async () => {
    await sql((db) => db`create table stored as select 42 as answer`);
    const before = pids(servers);
    await down({ dir });
    for (const pid of before) expect(existsSync(`/proc/${pid}`)).toBe(false);
    const found = await status({ dir });
    for (const name of SERVER_NAMES) expect(found[name]).toMatchObject({ running: false, ready: false });

    const again = await up({ dir });
    for (const name of SERVER_NAMES) expect(again[name].url).toBe(servers[name].url);
    servers = again;
    expect(await sql((db) => db`select answer from stored`)).toMatchObject([{ answer: 42 }]);
  }, 120_000);
});

async function waitUntil(condition: () => Promise<unknown>): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('The condition did not come true within 10 s.');
    await Bun.sleep(50);
  }
}
