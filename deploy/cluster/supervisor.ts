import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** A program to keep running. */
export interface Program {
  name: string;
  /** From 1. */
  replica: number;
  port: number;
  command: string;
  args: string[];
  env: Record<string, string>;
}

export interface RunningProgram {
  name: string;
  replica: number;
  pid: number;
  port: number;
}

/** How long a dead process stays dead, as an orchestrator would have it. */
export const RESTART_MS = 2_000;

export interface Supervisor {
  /** Those that run now. */
  running(): RunningProgram[];
  /** SIGTERM to all; SIGKILL to what is left after `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

/**
 * Starts programs and starts each again 2 s after it dies. Their output goes to one file each in `logDir`. They end
 * by themselves when this process dies: their standard input closes then.
 */
export function supervise(
  programs: Program[],
  options: { logDir: string; onChange: () => void; log: (line: string) => void },
): Supervisor {
  mkdirSync(options.logDir, { recursive: true });
  const children = new Map<Program, ChildProcess>();
  const timers = new Set<ReturnType<typeof setTimeout>>();
  let stopping = false;

  const start = (program: Program): void => {
    const output = createWriteStream(join(options.logDir, `${program.name}-${program.replica}.log`), {
      flags: 'a',
    });
    const child = spawn(program.command, program.args, {
      env: { ...program.env, LYCEUM_SUPERVISED: '1' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.stdin.on('error', () => {});
    child.stdout.pipe(output, { end: false });
    child.stderr.pipe(output, { end: false });
    children.set(program, child);
    child.once('error', (error) =>
      options.log(`${program.name} ${program.replica} can not be started: ${error.message}`),
    );
    child.once('close', (code, signal) => {
      output.end();
      children.delete(program);
      options.onChange();
      if (stopping) return;
      options.log(`${program.name} ${program.replica} ended (${signal ?? code}); starting it again`);
      const timer = setTimeout(() => {
        timers.delete(timer);
        if (!stopping) start(program);
      }, RESTART_MS);
      timers.add(timer);
    });
    options.onChange();
  };
  for (const program of programs) start(program);

  return {
    running: () =>
      [...children]
        .filter(([, child]) => child.pid !== undefined)
        .map(([{ name, replica, port }, child]) => ({ name, replica, pid: child.pid!, port }))
        .sort((a, b) => a.name.localeCompare(b.name) || a.replica - b.replica),
    async stop(graceMs) {
      stopping = true;
      for (const timer of timers) clearTimeout(timer);
      const ended = [...children.values()].map(
        (child) => new Promise<void>((resolve) => child.once('close', () => resolve())),
      );
      for (const child of children.values()) child.kill('SIGTERM');
      const force = setTimeout(() => {
        for (const child of children.values()) child.kill('SIGKILL');
      }, graceMs);
      await Promise.all(ended);
      clearTimeout(force);
    },
  };
}
