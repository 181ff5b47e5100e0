import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dir, '..', '..');

/** A process under measurement. */
export interface Running {
  name: string;
  pid: number;
  /** `http://…` of its port. */
  url: string;
  stop(): Promise<void>;
}

/** Starts a server process; it is up when `/readyz` says so, or when it says `ready <port>` itself. */
export async function start(
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

/** CPU seconds that a virtual machine's host has given to others meanwhile, of all cores, since the start (Linux). */
export function stolenCpu(): number {
  const total = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/);
  return Number(total[8]) / 100;
}

/** Proportional memory of a process in bytes (Linux). */
export function memoryOf(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1]) * 1024;
}

/** Files that a process may have open at most (Linux). */
export function openFilesLimit(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8');
  return Number(/^Max open files\s+\d+\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
}
