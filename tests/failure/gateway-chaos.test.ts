import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../deploy/ports.ts';
import { newTestKey } from '../../shared/testing/access-tokens.ts';
import { realServer } from '../../shared/testing/servers.ts';
import { type TcpProxy, tcpProxy } from '../../shared/testing/tcp-proxy.ts';
import { only } from '../gateway/messages.ts';
import { HOST, RawClient } from '../gateway/wire.ts';
import { eventually } from '../support/people.ts';

/**
 * The real gateway process before two replicas of a service and a real Redis, under a load of reads and writes, while
 * everything behind it breaks: no read fails, every write that fails is answered clearly, every write with a key
 * succeeds, and what was acknowledged was done exactly once.
 */

const ROOT = join(import.meta.dir, '..', '..');
const redis = await realServer('redis');
if (!redis) console.log('skipped: no real Redis; npm run servers -- up');

/** One replica, that is killed and comes back. */
class ReplicaProcess {
  private child: ChildProcess | undefined;
  kills = 0;
  constructor(
    readonly port: number,
    private readonly dir: string,
  ) {}

  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      [join(import.meta.dir, 'chaos-replica.ts'), String(this.port), this.dir],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    this.child = child;
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', () => reject(new Error('the replica did not start')));
    });
  }

  behave(manner: 'well' | 'resets' | 'half-closes'): void {
    this.child!.stdin!.write(`${manner}\n`);
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    process.kill(this.child!.pid!, signal);
  }

  async kill(): Promise<void> {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    this.kills++;
    await ended;
  }
}

describe.skipIf(!redis)('chaos behind the gateway', () => {
  const dir = mkdtempSync(join(tmpdir(), 'lyceum-chaos-'));
  let gateway: ChildProcess;
  let port: number;
  let internalPort: number;
  let log = '';
  let replicas: [ReplicaProcess, ReplicaProcess];
  let store: TcpProxy;
  let auth: Server;
  let bearer: string;

  beforeAll(async () => {
    const key = await newTestKey('chaos');
    bearer = `Authorization: Bearer ${await key.sign()}\r\n`;
    auth = createServer((_, response) => void response.end(JSON.stringify({ keys: [key.publicJwk] })));
    const ports = (await freePorts(5)) as [number, number, number, number, number];
    [port, internalPort] = ports;
    await new Promise<void>((resolve) => auth.listen(ports[4], '127.0.0.1', resolve));
    store = await tcpProxy(redis!.url);
    replicas = [new ReplicaProcess(ports[2], dir), new ReplicaProcess(ports[3], dir)];
    await Promise.all(replicas.map((replica) => replica.start()));
    const authUrl = `http://127.0.0.1:${ports[4]}`;
    gateway = spawn(process.execPath, [join(ROOT, 'gateway/main.ts')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        PORT: String(port),
        INTERNAL_PORT: String(internalPort),
        PUBLIC_URL: 'http://school.example',
        REDIS_URL: store.url,
        AUTH_URL: authUrl,
        LYCEUM_LIMIT_SCALE: '1000',
        LYCEUM_PARENT_PID: String(process.pid),
        UPSTREAM_CHECK_MS: '500',
        UPSTREAM_CHAT: replicas.map((replica) => `http://127.0.0.1:${replica.port}`).join(),
        ...Object.fromEntries(
          ['AUTH', 'CONTENT', 'PROFILE', 'NOTIFICATIONS', 'ANALYTICS'].map((name) => [
            `UPSTREAM_${name}`,
            authUrl,
          ]),
        ),
      },
    });
    for (const output of [gateway.stdout!, gateway.stderr!]) output.on('data', (chunk) => (log += chunk));
    await eventually('the gateway', async () => {
      if (gateway.exitCode !== null) throw new Error(`the gateway ended:\n${log}`);
      return (await usable()) === 2 ? true : undefined;
    });
  }, 60_000);

  afterAll(async () => {
    if (gateway) {
      gateway.kill('SIGKILL');
      await Promise.all(replicas.map((replica) => replica.kill()));
      store.close();
      auth.close();
    }
    rmSync(dir, { recursive: true, force: true });
  }, 30_000);

  /** How many replicas answer the gateway's checks and get requests. */
  async function usable(): Promise<number> {
    const ask = (path: string) => fetch(`http://127.0.0.1:${internalPort}${path}`).catch(() => undefined);
    const state = (await (await ask('/readyz'))?.json()) as
      | { dependencies: { chat: { replicas: Record<string, string> } } }
      | undefined;
    const metrics = (await (await ask('/metrics'))?.text()) ?? '';
    const answering = Object.values(state?.dependencies.chat.replicas ?? {}).filter(
      (health) => health === 'ready',
    );
    const inUse = metrics.match(/^lyceum_gateway_replica_usable\{.*upstream="chat".*\} (1|0\.5)$/gm) ?? [];
    return Math.min(answering.length, inUse.length);
  }
  const bothUsable = () =>
    eventually('both replicas in use', async () => ((await usable()) === 2 ? true : undefined), 30_000);

  /** What the load has seen. */
  const ledger = {
    reads: 0,
    failedReads: [] as string[],
    /** Ids that were acknowledged, and those that were refused in due form. */
    written: new Set<string>(),
    refused: [] as string[],
    keyed: new Set<string>(),
    failedKeyed: [] as string[],
    /** Neither a reply nor an end, or an end without a reply. */
    unanswered: [] as string[],
  };
  /** Nobody waits for longer than the longest outage here, by far. */
  const HANG_MS = 25_000;

  async function load(who: number, kind: 'read' | 'write' | 'keyed', over: () => boolean): Promise<void> {
    let one = await RawClient.open(port);
    for (let turn = 0; !over(); turn++) {
      const id = `${kind}-${who}-${turn}`;
      const target = `/api/chat/rooms?id=${id}`;
      const lines = `${HOST}${bearer}${kind === 'keyed' ? `Idempotency-Key: ${id}\r\n` : ''}`;
      const method = kind === 'read' ? 'GET' : 'POST';
      const body = kind === 'read' ? '' : id;
      const length = kind === 'read' ? '' : `Content-Length: ${body.length}\r\n`;
      void one.send(`${method} ${target} HTTP/1.1\r\n${lines}${length}\r\n${body}`);
      try {
        const reply = await one.reply(method, HANG_MS);
        const text = String(reply.body);
        const fault = `${id}: ${reply.status} ${text.slice(0, 300)}`;
        if (kind === 'read') {
          ledger.reads++;
          if (reply.status !== 200 || text !== target) ledger.failedReads.push(fault);
        } else if (kind === 'keyed') {
          if (reply.status === 201 && text === id) ledger.keyed.add(id);
          else ledger.failedKeyed.push(fault);
        } else if (reply.status === 201 && text === id) {
          ledger.written.add(id);
        } else {
          const { code } = JSON.parse(text) as { code: string };
          const retryAfter = only(reply.headers, 'retry-after');
          const clear =
            (reply.status === 502 && code === 'bad-gateway') ||
            (reply.status === 504 && code === 'upstream-timeout') ||
            (reply.status === 503 && code === 'upstream-unavailable' && retryAfter !== undefined);
          if (clear) ledger.refused.push(fault);
          else ledger.unanswered.push(fault);
        }
        if (only(reply.headers, 'connection') !== 'close') continue;
      } catch (error) {
        ledger.unanswered.push(`${id}: ${error}`);
      }
      one.close();
      one = await RawClient.open(port);
    }
    one.close();
  }

  test('kills, resets, stalls and a store that comes and goes, for 40 s', async () => {
    let over = false;
    const running = Promise.all([
      ...Array.from({ length: 10 }, (_, who) => load(who, 'read', () => over)),
      ...Array.from({ length: 5 }, (_, who) => load(who, 'write', () => over)),
      ...Array.from({ length: 5 }, (_, who) => load(who, 'keyed', () => over)),
    ]);
    const [one, two] = replicas;
    const killed = async (replica: ReplicaProcess): Promise<void> => {
      await replica.kill();
      await Bun.sleep(1_000);
      await replica.start();
      await bothUsable();
    };
    const misbehaving = async (replica: ReplicaProcess, manner: 'resets' | 'half-closes'): Promise<void> => {
      replica.behave(manner);
      await Bun.sleep(3_000);
      replica.behave('well');
      await bothUsable();
    };
    const started = Date.now();
    await Bun.sleep(1_000);
    await killed(one);
    await killed(two);
    await misbehaving(one, 'resets');
    await misbehaving(two, 'half-closes');

    store.cut();
    await Bun.sleep(500);
    store.stall(true);
    await Bun.sleep(2_000);
    await killed(one);
    store.stall(false);
    store.freeze(true);
    store.cut();
    await Bun.sleep(2_000);
    store.freeze(false);
    store.cut();

    one.signal('SIGSTOP');
    await Bun.sleep(1_500);
    one.signal('SIGCONT');
    await bothUsable();
    await killed(two);
    while (Date.now() - started < 40_000) await Bun.sleep(100);
    over = true;
    await running;

    console.log(
      `${ledger.reads} reads, ${ledger.written.size} writes and ${ledger.keyed.size} with a key; ` +
        `${ledger.refused.length} writes refused; kills: ${one.kills} and ${two.kills}`,
    );
    expect(ledger.failedReads.slice(0, 3)).toEqual([]);
    expect(ledger.unanswered.slice(0, 3)).toEqual([]);
    expect(ledger.failedKeyed.slice(0, 3)).toEqual([]);
    expect(ledger.reads).toBeGreaterThan(1_000);
    expect(ledger.keyed.size).toBeGreaterThan(500);

    // What was acknowledged was done, and nothing without a key was done twice.
    const handled = readFileSync(join(dir, 'handled'), 'utf8').trim().split('\n');
    expect(new Set(handled).size).toBe(handled.length);
    expect([...ledger.written].filter((id) => !handled.includes(id))).toEqual([]);
    const keys = new Set(readdirSync(join(dir, 'keys')));
    expect([...ledger.keyed].filter((id) => !keys.has(id))).toEqual([]);

    expect(gateway.exitCode).toBeNull();
    expect(
      log.split('\n').filter((line) => line.includes('uncaught exception') || line.includes('"status":500')),
    ).toEqual([]);
  }, 150_000);
});
