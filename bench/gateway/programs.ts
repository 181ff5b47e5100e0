import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** Programs that the benchmark runs: each with the processes that it starts is a process group, which ends with us. */

export interface Command {
  file: string;
  args: string[];
  /** Added to PATH and HOME: what is set where the benchmark is run must not change a peer. */
  env?: Record<string, string>;
  /** Tools get all of our environment: registries and proxies are set there. */
  inherit?: boolean;
  /** Where both outputs go; else standard output is ours to read. */
  log?: string;
}

export interface Program {
  /** Also the id of its process group. */
  pid: number;
  child: ChildProcess;
  ended: Promise<void>;
  stop(): Promise<void>;
}

const running = new Map<number, Program>();

/** Ends all programs in good order. */
export async function stopPrograms(): Promise<void> {
  await Promise.all([...running.values()].map((program) => program.stop()));
}

/** Ends all programs at once, without waiting. For the end of this process, whatever the reason. */
export function killPrograms(): void {
  for (const group of running.keys()) signalGroup(group, 'SIGKILL');
}

/** A shell raises the number of files that may be open: 1,024 connections are 2,048 files of a proxy. */
const RAISE_LIMIT = 'ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)"; exec "$0" "$@"';

export function start({ file, args, env, inherit, log }: Command): Program {
  const output = log === undefined ? undefined : openSync(log, 'a');
  const child = spawn('sh', ['-c', RAISE_LIMIT, file, ...args], {
    env: { ...(inherit ? process.env : { PATH: process.env.PATH, HOME: process.env.HOME }), ...env },
    detached: true,
    stdio: output === undefined ? ['ignore', 'pipe', 'pipe'] : ['ignore', output, output],
  });
  if (output !== undefined) closeSync(output);
  const pid = child.pid;
  if (pid === undefined) throw new Error(`${file} could not be started`);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const program: Program = {
    pid,
    child,
    ended,
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), 5_000);
      await ended;
      clearTimeout(timer);
      signalGroup(pid, 'SIGKILL'); // workers of a master that went first
      running.delete(pid);
    },
  };
  running.set(pid, program);
  return program;
}

/** Waits for something that programs do. Rejects at once when one of them ends. */
export function whileRunning<T>(programs: Program[], work: Promise<T>): Promise<T> {
  const ended = programs.map(async (program) => {
    await program.ended;
    throw new Error(`it ended with ${program.child.exitCode ?? program.child.signalCode}`);
  });
  return Promise.race([work, ...ended]);
}

/** Runs a program to its end and returns what it printed. Rejects with its output when it fails. */
export async function runToEnd(command: Command, timeoutMs: number): Promise<string> {
  const { pid, child } = start(command);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk;
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk).slice(-4_000);
  });
  const timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), timeoutMs);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('close', (...how) => resolve(how)),
  );
  clearTimeout(timer);
  running.delete(pid);
  if (code === 0) return stdout;
  const end = signal === 'SIGKILL' ? `no end within ${timeoutMs / 1_000} s` : `ended with ${code ?? signal}`;
  throw new Error(`${command.file.split('/').at(-1)} ${end}\n${(stdout + stderr).trim().slice(-2_000)}`);
}

/** The first line that a program prints: the port that it chose. */
export function firstLine({ child }: Program): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      output += chunk;
      const end = output.indexOf('\n');
      if (end >= 0) resolve(output.slice(0, end));
    });
    child.once('exit', (code) => reject(new Error(`it ended with ${code} and said ${output}`)));
  });
}

function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch {
    // Gone.
  }
}

const TICKS_PER_SECOND = 100; // USER_HZ, the same on every Linux

/** Processor seconds that a process group has used, its ended children included. proc(5), fields 14 to 17. */
export function processorSeconds(group: number): number {
  let ticks = 0;
  for (const stat of groupStats(group)) ticks += ticksOf(stat.fields);
  return ticks / TICKS_PER_SECOND;
}

/** Most memory that the group's processes had resident, summed, in MB (VmHWM). */
export function peakMemory(group: number): number {
  let kilobytes = 0;
  for (const { pid } of groupStats(group)) {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    kilobytes += Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  }
  return kilobytes / 1024;
}

/** Processor seconds of the whole machine that were spent, and those of them that were ours. */
export async function machineSeconds(): Promise<{ busy: number; ours: number }> {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n', 1);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const busy = (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND;
  const own = ticksOf(fieldsOf(readFileSync('/proc/self/stat', 'utf8'))) / TICKS_PER_SECOND;
  return { busy, ours: [...running.keys()].reduce((sum, group) => sum + processorSeconds(group), own) };
}

function groupStats(group: number): { pid: string; fields: string[] }[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const fields = fieldsOf(readFileSync(`/proc/${pid}/stat`, 'utf8'));
      return Number(fields[2]) === group ? [{ pid, fields }] : [];
    } catch {
      return []; // gone meanwhile
    }
  });
}

/** From the third field on: the name before may hold anything. */
const fieldsOf = (stat: string): string[] => stat.slice(stat.lastIndexOf(')') + 2).split(' ');

const ticksOf = (fields: string[]): number =>
  [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0);
