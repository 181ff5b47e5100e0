import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DemoAccount } from '../../deploy/demo/accounts.ts';
import { freePorts } from '../../deploy/ports.ts';

const ROOT = join(import.meta.dir, '..', '..');

/** A platform that runs as its own process, as a user would start it. */
export interface TestPlatform {
  /** The gateway's public address. */
  url: string;
  dataDir: string;
  /** What the start command printed. */
  output(): string;
  accounts: DemoAccount[];
  pid: number;
  /** SIGTERM; resolves with the exit code. The data stays. */
  stop(): Promise<number | null>;
  /** SIGKILL. The data stays. */
  kill(): Promise<void>;
  /** Starts again on the same data and port. */
  restart(): Promise<void>;
  /** Stops and removes the data. */
  dispose(): Promise<void>;
}

export interface StartOptions {
  env?: Record<string, string>;
  /** After the script: `['--chat', '2']`. */
  args?: string[];
  /** Milliseconds until `ready `. */
  deadlineMs?: number;
}

export const startEmbedded = (options: StartOptions = {}): Promise<TestPlatform> =>
  startPlatform('deploy/embedded.ts', { deadlineMs: 90_000, ...options });

/** With real servers of its own, in its own data directory. */
export const startCluster = (options: StartOptions = {}): Promise<TestPlatform> =>
  startPlatform('deploy/cluster.ts', { deadlineMs: 240_000, ...options });

export interface ClusterFile {
  gateway: string;
  processes: { name: string; replica: number; pid: number; port: number }[];
  servers: Record<'postgres' | 'redis' | 'rabbitmq' | 's3' | 'smtp', { url: string; pid: number }>;
}

/** The state of a running cluster, as `npm run cluster` keeps it. */
export const readCluster = async (platform: TestPlatform): Promise<ClusterFile> =>
  JSON.parse(await readFile(join(platform.dataDir, 'cluster', 'cluster.json'), 'utf8')) as ClusterFile;

async function startPlatform(
  script: string,
  options: StartOptions & { deadlineMs: number },
): Promise<TestPlatform> {
  const dataDir = await mkdtemp(join(tmpdir(), 'lyceum-platform-'));
  const [port, internalPort] = (await freePorts(2)) as [number, number];
  let child: ChildProcess;
  let output = '';

  const launch = async (): Promise<void> => {
    child = spawn(process.execPath, [join(ROOT, script), ...(options.args ?? [])], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        PORT: String(port),
        INTERNAL_PORT: String(internalPort),
        DATA_DIR: dataDir,
        LYCEUM_LIMIT_SCALE: '1000',
        ...options.env,
      },
    });
    const seen = output.length;
    const collect = (chunk: Buffer) => {
      output += chunk.toString();
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    for (const started = Date.now(); !/^ready /m.test(output.slice(seen)); ) {
      if (child.exitCode !== null)
        throw new Error(`${script} ended with ${child.exitCode}:\n${output.slice(seen)}`);
      if (Date.now() - started > options.deadlineMs) {
        child.kill('SIGKILL');
        throw new Error(`${script} was not ready in time:\n${output.slice(seen)}`);
      }
      await Bun.sleep(50);
    }
  };

  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
    child.kill(signal);
    return exited;
  };

  await launch();
  return {
    url: `http://127.0.0.1:${port}`,
    dataDir,
    output: () => output,
    accounts: await readFile(join(dataDir, 'demo-accounts.json'), 'utf8').then(
      (text) => JSON.parse(text) as DemoAccount[],
      () => [],
    ),
    get pid() {
      return child.pid!;
    },
    stop: () => end('SIGTERM'),
    kill: async () => void (await end('SIGKILL')),
    restart: launch,
    async dispose() {
      await end('SIGTERM');
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
