import { execFile, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process that we started. The start time (Linux: clock ticks since boot) tells it from a later one with its pid. */
export interface Started {
  pid: number;
  startTime: string;
}

export interface Command {
  file: string;
  args: string[];
  /** Added to the environment that this process has. */
  env?: Record<string, string>;
  cwd?: string;
}

/** A command to run as another account. `setpriv` becomes the command, so the pid is the command's own. */
export function asUser(user: string, command: Command): Command {
  const args = [`--reuid=${user}`, `--regid=${user}`, '--init-groups', '--', command.file, ...command.args];
  return { ...command, file: 'setpriv', args };
}

/** Starts a server in a session of its own, so that it outlives this command and its terminal. Output goes to `log`. */
export async function startDetached(command: Command, log: string): Promise<Started> {
  mkdirSync(dirname(log), { recursive: true });
  const output = openSync(log, 'a', 0o600);
  try {
    const { file, args } = withEnvironment(command);
    const child = spawn(file, args, { cwd: command.cwd, detached: true, stdio: ['ignore', output, output] });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    return started(child.pid as number);
  } finally {
    closeSync(output);
  }
}

/** Runs a command to its end. Rejects with its output when it fails. @param timeout milliseconds */
export function run(command: Command, timeout = 600_000): Promise<string> {
  const { file, args } = withEnvironment(command);
  return new Promise((resolve, reject) => {
    const options = { cwd: command.cwd, timeout, maxBuffer: 64 << 20, killSignal: 'SIGKILL' as const };
    const child = execFile(file, args, options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const output = `${stdout}${stderr}`.trim().split('\n').slice(-25).join('\n');
      const reason = output || (error.killed ? `no answer within ${timeout / 1000} s` : error.message);
      reject(new Error(`${command.file} ${command.args.join(' ').slice(0, 120)} failed:\n${reason}`));
    });
    child.stdin?.end();
  });
}

/** Variables by `env NAME=value`, which adds to what is inherited without this code reading it. */
function withEnvironment({ file, args, env }: Command): { file: string; args: string[] } {
  if (!env || Object.keys(env).length === 0) return { file, args };
  return {
    file: 'env',
    args: [...Object.entries(env).map(([name, value]) => `${name}=${value}`), file, ...args],
  };
}

/** Whether this very process still runs (a zombie does not, nor another process that got its pid). */
export function isAlive(known: Started | undefined): known is Started {
  if (!known) return false;
  const now = startTimeOf(known.pid);
  return now !== undefined && (known.startTime === '' || now === known.startTime);
}

/** A process by its pid, as it is now. */
export function started(pid: number): Started {
  return { pid, startTime: startTimeOf(pid) ?? '' };
}

/** Linux: field 22 of /proc/<pid>/stat. Elsewhere '' for a process that runs. Undefined when there is none. */
function startTimeOf(pid: number): string | undefined {
  if (process.platform === 'linux') {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // the name in brackets may hold spaces
      return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
    } catch {
      return undefined;
    }
  }
  try {
    process.kill(pid, 0);
    return '';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? '' : undefined;
  }
}

/**
 * Asks a process to end and makes sure that it did.
 * @param grace milliseconds until it is killed
 */
export async function stopProcess(
  known: Started | undefined,
  signal: NodeJS.Signals,
  grace: number,
): Promise<void> {
  if (!isAlive(known)) return;
  kill(known.pid, signal);
  if (await gone(known, grace)) return;
  kill(known.pid, 'SIGKILL');
  if (!(await gone(known, 5_000))) throw new Error(`Process ${known.pid} does not end, not even by SIGKILL.`);
}

async function gone(known: Started, within: number): Promise<boolean> {
  const deadline = Date.now() + within;
  while (isAlive(known)) {
    if (Date.now() > deadline) return false;
    await sleep(25);
  }
  return true;
}

/** Ends what a killed server left behind: the processes whose working directory is its data folder (Linux only). */
export async function endLeftovers(folder: string): Promise<void> {
  if (process.platform !== 'linux') return;
  // They notice the death of their parent by themselves; one in the middle of a statement may take its time.
  for (let attempt = 0; attempt < 100; attempt++) {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && cwdOf(name) === folder);
    if (pids.length === 0) return;
    if (attempt >= 20) for (const pid of pids) kill(Number(pid), 'SIGKILL');
    await sleep(50);
  }
}

function cwdOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The last lines of a log, for an error message. */
export async function tail(log: string, lines = 15): Promise<string> {
  try {
    return (await readFile(log, 'utf8')).trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '(no log)';
  }
}

/** Whether a program is on the PATH. */
export async function has(program: string): Promise<boolean> {
  try {
    await run({ file: 'sh', args: ['-c', `command -v ${program}`] }, 10_000);
    return true;
  } catch {
    return false;
  }
}
