import { join } from 'node:path';
import { runToEnd } from './programs.ts';

/** The load generators: wrk for as many requests as will go, our own program in `load/` for everything else. */

const LOAD_SOURCE = join(import.meta.dir, 'load');
const SCRIPT = join(import.meta.dir, 'wrk.lua');
/** Beyond the duration of a run, until it counts as hanging. */
const PATIENCE_MS = 60_000;

export async function buildLoad(target: string): Promise<void> {
  await runToEnd(
    {
      file: 'go',
      args: ['-C', LOAD_SOURCE, 'build', '-o', target, '.'],
      env: { CGO_ENABLED: '0' },
      inherit: true,
    },
    120_000,
  );
}

export interface WrkResult {
  requests: number;
  seconds: number;
  /** Replies of 400 and more. */
  status: number;
  connect: number;
  read: number;
  write: number;
  timeout: number;
}

/** One thread: the machine's cores are for the gateway and the upstream too. */
export async function runWrk(options: {
  url: string;
  connections: number;
  seconds: number;
  tokensFile: string;
  bodyBytes?: number;
}): Promise<WrkResult> {
  const { url, connections, seconds, tokensFile, bodyBytes } = options;
  const output = await runToEnd(
    {
      file: 'wrk',
      args: [
        ...['--threads', '1', '--connections', String(connections), '--duration', `${Math.ceil(seconds)}s`],
        ...['--timeout', '10s', '--script', SCRIPT, url, '--', tokensFile],
        ...(bodyBytes === undefined ? [] : [String(bodyBytes)]),
      ],
    },
    seconds * 1_000 + PATIENCE_MS,
  );
  const result = /^result (.*)$/m.exec(output)?.[1];
  if (!result) throw new Error(`wrk gave no result:\n${output}`);
  return JSON.parse(result) as WrkResult;
}

export interface Latency {
  p50: number;
  p99: number;
  p999: number;
  max: number;
}

export interface Target {
  address: string;
  path: string;
}

export class Load {
  constructor(private readonly program: string) {}

  /** GETs at a fixed rate; latencies in milliseconds from when each was due. */
  rate(
    target: Target,
    options: { tokens: string; rate: number; seconds: number },
  ): Promise<Latency & { requests: number; achieved: number; failed: number }> {
    return this.run('rate', target, options, options.seconds * 1_000);
  }

  /** Without a rate, as many messages as go. Latencies in milliseconds from when a message was due. */
  relay(
    target: Target,
    options: { seconds: number; rate?: number },
  ): Promise<Latency & { deliveries: number; perSecond: number; incomplete: number }> {
    return this.run('relay', target, options, options.seconds * 1_000);
  }

  down(target: Target, options: { token: string; size: number }): Promise<{ seconds: number }> {
    return this.run('down', target, options, 0);
  }

  up(target: Target, options: { token: string; size: number }): Promise<{ seconds: number }> {
    return this.run('up', target, options, 0);
  }

  private async run<T>(command: string, target: Target, options: object, runsMs: number): Promise<T> {
    const given = Object.entries({ ...target, ...options }).filter(([, value]) => value !== undefined);
    const args = given.flatMap(([name, value]) => [`-${name}`, String(value)]);
    return JSON.parse(
      await runToEnd({ file: this.program, args: [command, ...args] }, runsMs + PATIENCE_MS),
    ) as T;
  }
}
