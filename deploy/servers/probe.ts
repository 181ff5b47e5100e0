import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'amqplib';
import { Redis } from 'ioredis';
import { Client } from 'minio';
import postgres from 'postgres';
import type { ServerName, State } from './state.ts';

/** How long one question to a server may take, milliseconds. */
const PROBE_TIMEOUT = 5_000;

/** Asks a server something in its own protocol, with its credentials. Rejects when the answer is not the right one. */
export async function probe(name: ServerName, state: State): Promise<void> {
  let timer: Timer | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${PROBE_TIMEOUT / 1000} s`)), PROBE_TIMEOUT);
  });
  try {
    await Promise.race([PROBES[name](state), late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Probes until it succeeds.
 * @param within milliseconds
 * @param isRunning ends the wait early once the process is gone
 */
export async function waitReady(
  name: ServerName,
  state: State,
  within: number,
  isRunning: () => Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + within;
  for (;;) {
    try {
      return await probe(name, state);
    } catch (error) {
      const reason = (error as Error).message || String(error);
      if (!(await isRunning())) throw new Error(`it ended by itself (last: ${reason})`);
      if (Date.now() > deadline) throw new Error(`not ready within ${within / 1000} s (last: ${reason})`);
    }
    await sleep(50);
  }
}

const PROBES: Record<ServerName, (state: State) => Promise<void>> = {
  async postgres(state) {
    const { ports, secrets } = state;
    const admin = postgres({
      ...{ host: '127.0.0.1', port: ports.postgres, user: 'lyceum', password: secrets.postgres },
      ...{ database: 'postgres', max: 1, connect_timeout: 4, onnotice: () => {} },
    });
    try {
      const [found] = await admin`select count(*)::int as count from pg_database where datname = 'lyceum'`;
      // Part of the probe, so that the database is there whoever initialised the server and whenever it was killed.
      if (found?.count === 0) await admin`create database lyceum`;
    } finally {
      await admin.end({ timeout: 1 }).catch(() => {});
    }
  },

  async redis({ ports, secrets }) {
    const redis = new Redis({
      ...{ host: '127.0.0.1', port: ports.redis, password: secrets.redis },
      ...{ lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 },
    });
    redis.on('error', () => {}); // also rejects the call, which is where it is heard
    try {
      await redis.connect();
      if ((await redis.ping()) !== 'PONG') throw new Error('PING was not answered with PONG');
    } finally {
      redis.disconnect();
    }
  },

  async rabbitmq({ ports, secrets }) {
    // Connecting to a port that is closed is asked of the network first: amqplib takes its time over it.
    await greeting(ports.rabbitmq);
    const connection = await connect(`amqp://lyceum:${secrets.rabbitmq}@127.0.0.1:${ports.rabbitmq}`, {
      timeout: 4_000,
    });
    connection.on('error', () => {});
    await connection.close();
    const authorization = `Basic ${btoa(`lyceum:${secrets.rabbitmq}`)}`;
    const reply = await fetch(`http://127.0.0.1:${ports['rabbitmq.management']}/api/overview`, {
      headers: { authorization },
    });
    if (!reply.ok) throw new Error(`the management API answered ${reply.status}`);
  },

  async s3({ ports, secrets }) {
    const ready = await fetch(`http://127.0.0.1:${ports.s3}/minio/health/ready`);
    if (!ready.ok) throw new Error(`health answered ${ready.status}`);
    const client = new Client({
      ...{ endPoint: '127.0.0.1', port: ports.s3, useSSL: false },
      ...{ accessKey: 'lyceum', secretKey: secrets.s3 },
    });
    await client.listBuckets();
  },

  async smtp({ ports }) {
    const banner = await greeting(ports.smtp, true);
    if (!banner.startsWith('220 ')) throw new Error(`greeted with "${banner.trim()}"`);
    const page = await fetch(`http://127.0.0.1:${ports['smtp.http']}/dev/mail.json?to=nobody`);
    if (!page.ok) throw new Error(`the mail page answered ${page.status}`);
  },
};

/** Connects and, if asked to, waits for the first words. */
function greeting(port: number, speaks = false): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    socket.setTimeout(4_000, () => socket.destroy(new Error('no greeting')));
    const done = (words: string) => {
      resolve(words);
      socket.destroy();
    };
    if (speaks) socket.once('data', (words) => done(String(words)));
    else socket.once('connect', () => done(''));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the connection was closed')));
  });
}
