import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { sql } from 'kysely';
import { CHAT_RUNTIME } from '../../deploy/cluster/programs.ts';
import { freePorts } from '../../deploy/ports.ts';
import { down, type Servers, up } from '../../deploy/servers/servers.ts';
import { migrations } from '../../services/chat/migrations/index.ts';
import { openPostgres, preparePostgres } from '../../shared/adapters/database/postgres.ts';
import { AUDIENCE, ISSUER } from '../../shared/auth/tokens.ts';
import { SERVICES } from '../../shared/contracts/common.ts';
import { migrate } from '../../shared/db/migrate.ts';
import { newId } from '../../shared/ids.ts';
import { type Loader, startLoader } from './loader.ts';
import { type Running, start } from './processes.ts';

export interface Person {
  userId: string;
  token: string;
}

export const PEER_RUNTIMES = ['node', 'bun', 'bun-engine'] as const;
export type PeerRuntime = (typeof PEER_RUNTIMES)[number];

/** Real servers of the benchmark's own, with people and rooms in chat's schema and somebody who signs their tokens. */
export interface Stage {
  servers: Servers;
  /** One chat process, as the cluster starts it. */
  chat(): Promise<Running>;
  gateway(chats: Running[]): Promise<Running>;
  /** Plain Socket.IO with the Redis adapter: on Node, on Bun, on Bun with Socket.IO's engine for it. */
  peer(runtime: PeerRuntime): Promise<Running>;
  /** WebSockets and nothing else: what the machine and the load generator can do. */
  relay(): Promise<Running>;
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
  await migrate(db, 'chat', migrations);
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
        ...CHAT_RUNTIME,
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
      return keep(await start('chat', process.execPath, [...options, 'services/chat/main.ts'], env, port!));
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
      const env = { ...common, ...(runtime === 'bun-engine' ? { ENGINE: 'bun' } : {}) };
      const command = runtime === 'node' ? 'node' : process.execPath;
      return keep(await start(`Socket.IO on ${runtime}`, command, ['bench/chat/peer.mjs'], env));
    },
    relay: async () =>
      keep(await start('bare WebSocket relay', process.execPath, ['bench/chat/relay.ts'], common)),
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
