import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { sql } from 'kysely';
import { freePorts } from '../../deploy/ports.ts';
import { down, type Servers, up } from '../../deploy/servers/servers.ts';
import { openPostgres, preparePostgres } from '../../shared/adapters/database/postgres.ts';
import { AUDIENCE, ISSUER } from '../../shared/auth/tokens.ts';
import { SERVICES } from '../../shared/contracts/common.ts';
import { newId } from '../../shared/ids.ts';
import type { Command, Connected, Measured, Target } from './load.ts';

const ROOT = join(import.meta.dir, '..', '..');

/** A process under measurement. */
export interface Running {
  name: string;
  pid: number;
  /** `http://…` of its port. */
  url: string;
  stop(): Promise<void>;
}

export interface Person {
  userId: string;
  token: string;
}

/** Real servers of the benchmark's own, with people and rooms in chat's schema and somebody who signs their tokens. */
export interface Stage {
  servers: Servers;
  /** One chat process, as the cluster starts it. */
  chat(): Promise<Running>;
  gateway(chats: Running[]): Promise<Running>;
  peer(runtime: 'node' | 'bun' | 'bun with its engine'): Promise<Running>;
  loader(): Promise<Loader>;
  people(count: number): Promise<Person[]>;
  /** Groups that all of the people are members of; `messages` are there already. */
  rooms(members: Person[][], messages?: number): Promise<string[]>;
  close(): Promise<void>;
}

export async function openStage(): Promise<Stage> {
  const dir = await mkdtemp(join(tmpdir(), 'lyceum-bench-'));
  const servers = await up({ dir: join(dir, 'servers') });
  const password = crypto.randomUUID();
  await preparePostgres(servers.postgres.url, 'chat', password);
  const databaseUrl = new URL(servers.postgres.url);
  databaseUrl.username = 'lyceum_chat';
  databaseUrl.password = password;
  const db = openPostgres<Record<string, never>>({ url: databaseUrl.href, statementTimeoutMs: 600_000 });
  const keys = await openKeys();
  const running = new Set<Running>();
  const keep = (started: Running): Running => {
    running.add(started);
    const stop = (): Promise<void> => {
      running.delete(started);
      return started.stop();
    };
    return { ...started, stop };
  };

  const common = {
    ...(process.env.BENCH_GROWTH ? { BUN_JSC_heapGrowthMaxIncrease: process.env.BENCH_GROWTH } : {}),
    PATH: process.env.PATH ?? '',
    HOME: process.env.HOME ?? '',
    NODE_ENV: 'production',
    LOG_LEVEL: 'warn',
    PUBLIC_URL: 'http://localhost:8080',
    REDIS_URL: servers.redis.url,
    AUTH_URL: keys.url,
    LYCEUM_LIMIT_SCALE: '1000000',
  };

  return {
    servers,
    async chat() {
      const [port] = await freePorts(1);
      const env = {
        ...common,
        PORT: String(port),
        DATABASE_URL: databaseUrl.href,
        AMQP_URL: servers.rabbitmq.url,
        S3_URL: servers.s3.url,
        S3_ACCESS_KEY: servers.s3.accessKey,
        S3_SECRET_KEY: servers.s3.secretKey,
        SMTP_URL: servers.smtp.url,
      };
      // Such as `--cpu-prof --cpu-prof-dir=/tmp`, to see where the time goes.
      const options = process.env.BENCH_BUN_OPTIONS?.split(' ') ?? [];
      return keep(
        await start('chat', process.execPath, [...options, 'services/chat/main.ts'], env, port!),
      );
    },
    async gateway(chats) {
      const [port, internalPort] = await freePorts(2);
      const upstreams = Object.fromEntries(
        SERVICES.map((name) => [`UPSTREAM_${name.toUpperCase()}`, chats.map(({ url }) => url).join(',')]),
      );
      const env = { ...common, ...upstreams, PORT: String(port), INTERNAL_PORT: String(internalPort) };
      return keep(await start('gateway', process.execPath, ['gateway/main.ts'], env, port!));
    },
    async peer(runtime) {
      const env = { ...common, ...(runtime === 'bun with its engine' ? { ENGINE: 'bun' } : {}) };
      const command = runtime === 'node' ? 'node' : process.execPath;
      return keep(await start(`Socket.IO on ${runtime}`, command, ['bench/chat/peer.mjs'], env));
    },
    loader: () => startLoader(dir),
    people: (count) => Promise.all(Array.from({ length: count }, () => keys.person())),
    rooms: async (members, messages = 0) => {
      const ids: string[] = [];
      for (const people of members) {
        const id = newId();
        ids.push(id);
        const userIds = people.map(({ userId }) => userId);
        await sql`insert into people (user_id, display_name, named_at)
          select id, 'Somebody', now() from unnest(${userIds}::uuid[]) id on conflict do nothing`.execute(db);
        await sql`insert into rooms (id, kind, name, last_seq, created_at, active_at)
          values (${id}, 'group', 'Bench', ${messages}, now(), now())`.execute(db);
        await sql`insert into members (room_id, user_id, role, joined_at)
          select ${id}, id, 'member', now() from unnest(${userIds}::uuid[]) id`.execute(db);
        if (messages === 0) continue;
        await sql`insert into messages
            (id, room_id, seq, client_id, author_id, body, mentions, attachments, created_at)
          select gen_random_uuid(), ${id}, n, 'old-' || n, ${userIds[0]!}, 'Message ' || n, '[]', '[]', now()
          from generate_series(1, ${messages}) n`.execute(db);
      }
      return ids;
    },
    async close() {
      for (const process of [...running]) await process.stop();
      await db.destroy();
      keys.close();
      await down({ dir: join(dir, 'servers') });
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Stands for the auth service: publishes a key and signs tokens with it. */
async function openKeys(): Promise<{ url: string; person(): Promise<Person>; close(): void }> {
  const pair = await generateKeyPair('EdDSA', { extractable: true });
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: 'bench', alg: 'EdDSA' };
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ keys: [jwk] }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    async person() {
      const userId = newId();
      const token = await new SignJWT({ sid: newId(), role: 'learner', name: 'Somebody' })
        .setProtectedHeader({ alg: 'EdDSA', kid: 'bench' })
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setSubject(userId)
        .setIssuedAt()
        .setExpirationTime('6h')
        .sign(pair.privateKey);
      return { userId, token };
    },
    close: () => void server.close(),
  };
}

/** Starts a server process; it is up when `/readyz` says so, or when it says `ready <port>` itself. */
async function start(
  name: string,
  command: string,
  args: string[],
  env: Record<string, string>,
  port?: number,
): Promise<Running> {
  const child = spawn(command, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const at = port ?? (await saidPort(child, name));
  const url = `http://127.0.0.1:${at}`;
  if (port !== undefined) await answers(name === 'gateway' ? `${url}/healthz` : `${url}/readyz`, child);
  return {
    name,
    pid: child.pid!,
    url,
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

async function saidPort(child: ChildProcess, name: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.stdout!.once('data', (text: Buffer) => resolve(Number(/ready (\d+)/.exec(String(text))?.[1])));
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}`)));
  });
}

async function answers(url: string, child: ChildProcess): Promise<void> {
  for (const deadline = Date.now() + 60_000; ; ) {
    if (child.exitCode !== null) throw new Error(`${url}: the process ended with ${child.exitCode}`);
    if (
      await fetch(url).then(
        (reply) => reply.ok,
        () => false,
      )
    )
      return;
    if (Date.now() > deadline) throw new Error(`${url} does not answer`);
    await Bun.sleep(50);
  }
}

export interface Loader {
  pid: number;
  connect(targets: Target[], perSecond?: number): Promise<Connected>;
  closedLoop(load: { seconds: number; senders: number; window: number }): Promise<Measured>;
  openLoop(load: { seconds: number; rate: number }): Promise<Measured>;
  disconnect(): Promise<void>;
  close(): void;
}

async function startLoader(dir: string): Promise<Loader> {
  const child = spawn(process.execPath, [join(import.meta.dir, 'load.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const waiting: ((reply: unknown) => void)[] = [];
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      waiting.shift()?.(JSON.parse(text.slice(0, end)));
      text = text.slice(end + 1);
    }
  });
  const ask = <T>(command: Command): Promise<T> =>
    new Promise((resolve) => {
      waiting.push(resolve as (reply: unknown) => void);
      child.stdin.write(`${JSON.stringify(command)}\n`);
    });
  return {
    pid: child.pid!,
    async connect(targets, perSecond = 500) {
      const file = join(dir, `targets-${newId()}.json`);
      await writeFile(file, JSON.stringify(targets));
      const connected = await ask<Connected>({ do: 'connect', file, perSecond });
      await rm(file);
      if (connected.failed > 0)
        throw new Error(`${connected.failed} sockets did not connect: ${connected.errors}`);
      return connected;
    },
    closedLoop: (load) => ask({ do: 'closed-loop', ...load }),
    openLoop: (load) => ask({ do: 'open-loop', ...load }),
    disconnect: async () => void (await ask({ do: 'disconnect' })),
    close: () => void child.kill('SIGKILL'),
  };
}

/** CPU seconds that a process has used, with those of its children if `tree` (Linux). */
export function cpuOf(pid: number, tree = false): number {
  const pids = tree ? [pid, ...childrenOf(pid)] : [pid];
  return pids.reduce((sum, one) => sum + cpuOfOne(one), 0);
}

function statOf(pid: number | string): string[] | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
  } catch {
    return undefined; // gone meanwhile
  }
}

function cpuOfOne(pid: number): number {
  const stat = statOf(pid);
  return stat ? (Number(stat[11]) + Number(stat[12])) / 100 : 0;
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(statOf(name)?.[1]) === pid)
    .map(Number);
}

/** Proportional memory of a process in bytes (Linux). */
export function memoryOf(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1]) * 1024;
}
