import { afterEach, describe, expect, test } from 'bun:test';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { startTestService } from '../../shared/testing/service.ts';
import { eventually, sleep } from '../testing.ts';
import { checkHealth } from './health-check.ts';
import type { UpstreamPool } from './pool.ts';
import type { UpstreamSettings } from './settings.ts';
import { parseTargets, type UpstreamAddress } from './targets.ts';
import { countChoices, type FakeConnections, testPool } from './testing.ts';

/** Health checks against real servers, which the test stops and starts. */

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

interface TestReplicaServer {
  port: number;
  /** What it answers; undefined: it takes the request and says nothing. */
  reply: string | undefined;
  requests: string[];
  stop(): Promise<void>;
}

const http = (status: string, body: string): string =>
  `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
const READY = http('200 OK', '{"ready":true}');
const NOT_READY = http('503 Service Unavailable', '{"ready":false,"dependencies":{"database":{"ok":false}}}');
const DRAINING = http('503 Service Unavailable', '{"ready":false,"draining":true}');

async function startServer(reply: string | undefined = READY, port = 0): Promise<TestReplicaServer> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (bytes) => {
      running.requests.push(bytes.toString('latin1'));
      if (running.reply !== undefined) socket.end(running.reply);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const running: TestReplicaServer = {
    port: (server.address() as AddressInfo).port,
    reply,
    requests: [],
    async stop() {
      for (const socket of sockets) socket.destroy();
      if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  stops.push(running.stop);
  return running;
}

const addressOf = (port: number): UpstreamAddress => ({ hostname: '127.0.0.1', port, host: 'chat:8080' });

describe('health check', () => {
  test.each([
    ['ready', READY],
    ['not ready', NOT_READY],
    ['draining', DRAINING],
    ['not ready', http('404 Not Found', '')],
    ['not ready', http('503 Service Unavailable', 'null')],
    ['not ready', http('500 Internal Server Error', `"${'x'.repeat(100_000)}"`)],
    ['no answer', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['no answer', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf'],
    ['no answer', ''],
  ] as const)('%p', async (health, reply) => {
    const { port } = await startServer(reply);
    expect(await checkHealth(addressOf(port), 2_000)).toEqual({ health, refused: false });
  });

  test('asks for /readyz by the name it knows', async () => {
    const { port, requests } = await startServer();
    await checkHealth(addressOf(port), 2_000);
    expect(requests[0]).toMatch(/^GET \/readyz HTTP\/1\.1\r\n/);
    expect(requests[0]).toMatch(/\r\nhost: chat:8080\r\n/i);
  });

  test('silence is no answer, a closed port is refused', async () => {
    const { port, stop } = await startServer();
    await stop();
    expect(await checkHealth(addressOf(port), 2_000)).toEqual({ health: 'no answer', refused: true });
    const silent = await startServer();
    silent.reply = undefined;
    expect(await checkHealth(addressOf(silent.port), 50)).toEqual({ health: 'no answer', refused: false });
  });
});

describe('a service of ours', () => {
  test('is ready, not ready, and draining while it still answers', async () => {
    let database = true;
    const service = await startTestService(async () => ({
      name: 'profile',
      basePath: '/api/profiles',
      migrations: [],
      routes: [],
      readiness: {
        database: async () => {
          if (!database) throw new Error('away');
        },
      },
    }));
    stops.push(service.stop);
    const ask = () => checkHealth(addressOf(Number(new URL(service.url).port)), 2_000);
    expect(await ask()).toEqual({ health: 'ready', refused: false });
    database = false;
    expect(await ask()).toEqual({ health: 'not ready', refused: false });
    database = true;
    service.announceStop();
    expect(await ask()).toEqual({ health: 'draining', refused: false });
    expect((await service.call('GET', '/openapi.json')).status).toBe(200);
  });
});

describe('a pool before real replicas', () => {
  const QUICK: Partial<UpstreamSettings> = {
    checkEveryMs: 40,
    checkTimeoutMs: 60,
    openMs: 20,
    slowStartMs: 400,
  };

  async function startPool(servers: TestReplicaServer[]): Promise<UpstreamPool<FakeConnections>> {
    const pool = testPool(servers.map(({ port }) => `http://127.0.0.1:${port}`).join(), QUICK);
    stops.push(async () => pool.stop());
    await pool.start();
    await eventually(() => pool.state().replicas.every(({ health }) => health === 'ready'));
    return pool;
  }

  test('one that is killed gets nothing after the next check, and comes back slowly', async () => {
    const servers = [await startServer(), await startServer()];
    const pool = await startPool(servers);
    const { port } = servers[0]!;
    const name = `127.0.0.1:${port}`;
    const first = () => pool.state().replicas.find((replica) => replica.name === name)!;
    expect(countChoices(pool, 200)[name]).toBeGreaterThan(50);

    await servers[0]!.stop();
    await eventually(() => first().breaker === 'open');
    expect(first().health).toBe('no answer');
    expect(countChoices(pool, 200)).not.toHaveProperty(name);

    await startServer(READY, port);
    await eventually(() => first().breaker === 'half-open');
    await eventually(() => {
      countChoices(pool, 1);
      return first().breaker === 'closed';
    });
    expect(first().share).toBeLessThan(1);
    await eventually(() => first().share === 1);
    expect(countChoices(pool, 200)[name]).toBeGreaterThan(50);
  });

  test('one that hangs is out after two checks', async () => {
    const servers = [await startServer(), await startServer()];
    const pool = await startPool(servers);
    servers[0]!.reply = undefined;
    await eventually(() => pool.state().replicas[0]!.breaker === 'open');
    expect(countChoices(pool, 100)).toEqual({ [pool.replicas[1]!.name]: 100 });
  });

  test('one that says it drains gets nothing new', async () => {
    const servers = [await startServer(), await startServer()];
    const pool = await startPool(servers);
    servers[1]!.reply = DRAINING;
    await eventually(() => pool.state().replicas[1]!.draining);
    expect(countChoices(pool, 100)).toEqual({ [pool.replicas[0]!.name]: 100 });
    expect(pool.state().replicas[1]!.breaker).toBe('closed');
  });

  test('a dependency that all have lost takes none of them out', async () => {
    const servers = [await startServer(), await startServer()];
    const pool = await startPool(servers);
    servers[0]!.reply = NOT_READY;
    await eventually(() => pool.state().replicas[0]!.health === 'not ready');
    expect(countChoices(pool, 100)).toEqual({ [pool.replicas[1]!.name]: 100 });
    expect(pool.state().ready).toBe(true);
    servers[1]!.reply = NOT_READY;
    await eventually(() => pool.state().replicas[1]!.health === 'not ready');
    expect(Object.keys(countChoices(pool, 100))).toHaveLength(2);
    expect(pool.state()).toMatchObject({ ready: false });
    expect(pool.state().replicas.map(({ breaker }) => breaker)).toEqual(['closed', 'closed']);
  });

  test('one that is off the list is asked no more', async () => {
    const servers = [await startServer(), await startServer()];
    const pool = await startPool(servers);
    await pool.reload(parseTargets(`http://127.0.0.1:${servers[0]!.port}`));
    await sleep(30);
    const asked = servers[1]!.requests.length;
    const others = servers[0]!.requests.length;
    await eventually(() => servers[0]!.requests.length > others + 3);
    expect(servers[1]!.requests.length).toBe(asked);
  });

  test('stopped, it asks nobody', async () => {
    const servers = [await startServer()];
    const pool = await startPool(servers);
    pool.stop();
    await sleep(70);
    const asked = servers[0]!.requests.length;
    await sleep(120);
    expect(servers[0]!.requests.length).toBe(asked);
  });
});
