import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { deserialize, serialize } from 'node:v8';
import { unavailable } from '../errors.ts';
import { frame, readFrames } from './frames.ts';

/** Why a job in a child process came to nothing: its own error, or the end of the process. */
export class ChildFailure extends Error {
  override readonly name = 'ChildFailure';
  constructor(
    /** `refused`: the job threw. The others: the process was killed over this job, or died of it. */
    readonly kind: 'refused' | 'timeout' | 'memory' | 'crashed',
    message: string,
  ) {
    super(message);
  }
}

export interface ChildOptions {
  /** A module that calls `answerParent` (child-side.ts). */
  script: URL;
  /** Milliseconds for one job, start of the process included. */
  timeoutMs: number;
  /** Resident memory at which the process is killed, in bytes. Watched on Linux, where /proc says it. */
  maxRssBytes: number;
  /** Milliseconds without a job after which the process ends. */
  idleMs?: number;
  /** More jobs waiting than this are refused with `upstream-unavailable`. */
  maxWaiting?: number;
}

interface ChildJob {
  input: unknown;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** What a child says: once that it is there, then one answer to each input. */
export type ChildAnswer = { ready: true } | { ok: true; value: unknown } | { ok: false; error: string };

const MEMORY_POLL_MS = 50;

/**
 * Runs jobs one after the other in a process of its own, so that hostile input (bombs, files made to crash a
 * parser) can take down nothing but that process. It starts at the first job, on the runtime this process runs
 * on, without this process's environment (no secrets in it), and is killed and replaced after a job that takes
 * too long or too much memory. Inputs and results are anything that can be cloned, bytes included.
 */
export class ChildWorker<I, O> {
  readonly #options: Required<ChildOptions>;
  readonly #waiting: ChildJob[] = [];
  #child: ChildProcess | undefined;
  /** The process has loaded its script: from now on its end is the job's doing. */
  #ready = false;
  #current: ChildJob | undefined;
  #timers: ReturnType<typeof setTimeout>[] = [];
  #idle: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(options: ChildOptions) {
    this.#options = { idleMs: 60_000, maxWaiting: 100, ...options };
  }

  /** Rejects with a ChildFailure, or `upstream-unavailable` when too many wait or the worker has been stopped. */
  run(input: I): Promise<O> {
    if (this.#stopped || this.#waiting.length >= this.#options.maxWaiting) {
      return Promise.reject(unavailable('The worker for files'));
    }
    return new Promise<O>((resolve, reject) => {
      this.#waiting.push({ input, resolve: resolve as (value: unknown) => void, reject });
      this.#next();
    });
  }

  /** Ends the process; jobs in hand are rejected. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#idle);
    for (const job of this.#waiting.splice(0)) job.reject(unavailable('The worker for files'));
    this.#settle()?.reject(unavailable('The worker for files'));
    this.#kill();
  }

  #next(): void {
    if (this.#current || this.#waiting.length === 0) return;
    clearTimeout(this.#idle);
    this.#current = this.#waiting.shift()!;
    let child: ChildProcess;
    try {
      child = this.#child ??= this.#spawn();
    } catch (error) {
      this.#finish((job) => job.reject(unavailable('The worker for files', error)));
      return;
    }
    child.ref();
    this.#timers = [
      setTimeout(() => this.#give('timeout', 'it took too long'), this.#options.timeoutMs),
      setInterval(() => void this.#watchMemory(child), MEMORY_POLL_MS),
    ];
    child.stdin!.write(frame(serialize(this.#current.input)));
  }

  #spawn(): ChildProcess {
    const script = fileURLToPath(this.#options.script);
    const isDeno = 'Deno' in globalThis;
    const child = spawn(process.execPath, isDeno ? ['run', '-A', '--no-prompt', script] : [script], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: Object.fromEntries(
        ['PATH', 'HOME', 'TMPDIR', 'DENO_DIR'].flatMap((name) => {
          const value = process.env[name];
          return value === undefined ? [] : [[name, value]];
        }),
      ),
    });
    readFrames(child.stdout!, (bytes) => {
      if (child !== this.#child) return;
      const answer = deserialize(bytes) as ChildAnswer;
      if ('ready' in answer) {
        this.#ready = true;
        return;
      }
      this.#finish((job) =>
        answer.ok ? job.resolve(answer.value) : job.reject(new ChildFailure('refused', answer.error)),
      );
    });
    // A write to a process that has just died; its end is what matters, and `exit` tells.
    child.stdin!.on('error', () => {});
    child.on('error', () => this.#ended(child));
    child.on('exit', () => this.#ended(child));
    this.#ready = false;
    return child;
  }

  #ended(child: ChildProcess): void {
    if (child !== this.#child) return;
    this.#child = undefined;
    this.#finish((job) => job.reject(this.#failure('crashed', 'the process died of it')));
  }

  async #watchMemory(child: ChildProcess): Promise<void> {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
    const kilobytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
    if (kilobytes * 1024 > this.#options.maxRssBytes && child === this.#child) {
      this.#give('memory', 'it needed too much memory');
    }
  }

  /** Gives up on the current job and on the process with it. */
  #give(kind: 'timeout' | 'memory', message: string): void {
    this.#kill();
    this.#finish((job) => job.reject(this.#failure(kind, message)));
  }

  /** A process that never came up is not the fault of the job. */
  #failure(kind: 'timeout' | 'memory' | 'crashed', message: string): Error {
    return this.#ready ? new ChildFailure(kind, message) : unavailable('The worker for files');
  }

  #kill(): void {
    const child = this.#child;
    this.#child = undefined;
    child?.kill('SIGKILL');
  }

  #settle(): ChildJob | undefined {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
    const job = this.#current;
    this.#current = undefined;
    return job;
  }

  #finish(outcome: (job: ChildJob) => void): void {
    const job = this.#settle();
    if (!job) return;
    outcome(job);
    if (this.#waiting.length > 0) {
      this.#next();
      return;
    }
    this.#child?.unref();
    this.#idle = setTimeout(() => this.#kill(), this.#options.idleMs);
    this.#idle.unref?.();
  }
}
