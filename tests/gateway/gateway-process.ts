import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { startGateway } from '../../gateway/testing.ts';

/**
 * A gateway alone in its process, so that its memory, its open files and its end are its own. Run as a script it is
 * that process: the argument says how `startGateway` is called, and the first line that it prints where it listens.
 */

type GatewayOptions = Pick<NonNullable<Parameters<typeof startGateway>[0]>, 'upstreams' | 'env' | 'timings'>;

export interface GatewayProcess {
  port: number;
  internalPort: number;
  pid: number;
  /** Memory in use, in MiB: now, and the most since the start. */
  memory(): { now: number; most: number };
  /** Open files and sockets. */
  openFiles(): number;
  /** What it wrote to its standard error: nothing, if all is well. */
  complaints(): string;
  /** False: it has ended by itself. */
  alive(): boolean;
  stop(): Promise<void>;
}

export async function startGatewayProcess(options: GatewayOptions): Promise<GatewayProcess> {
  const child: ChildProcess = spawn(process.execPath, [import.meta.path, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let complaints = '';
  child.stderr!.on('data', (chunk: Buffer) => (complaints = (complaints + chunk).slice(-20_000)));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const line = await new Promise<string>((resolve, reject) => {
    let text = '';
    child.stdout!.on('data', (chunk: Buffer) => {
      text += chunk;
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')));
    });
    void ended.then(() => reject(new Error(`the gateway's process ended at its start: ${complaints}`)));
  });
  const { port, internalPort } = JSON.parse(line) as { port: number; internalPort: number };
  const pid = child.pid!;
  const mebibytes = (field: string): number =>
    Number(
      new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1],
    ) / 1_024;
  return {
    port,
    internalPort,
    pid,
    memory: () => ({ now: mebibytes('VmRSS'), most: mebibytes('VmHWM') }),
    openFiles: () => readdirSync(`/proc/${pid}/fd`).length,
    complaints: () => complaints,
    alive: () => child.exitCode === null && child.signalCode === null,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

if (import.meta.main) {
  const gateway = await startGateway(JSON.parse(process.argv[2]!) as GatewayOptions);
  console.log(JSON.stringify({ port: gateway.port, internalPort: gateway.internalPort }));
  process.on('SIGTERM', () => void gateway.stop(200).then(() => process.exit(0)));
  // Whoever started us was killed.
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.exit(1), 500).unref();
}
