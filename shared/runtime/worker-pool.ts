import { unavailable } from '../errors.ts';

interface Waiting {
  input: unknown;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

/**
 * Runs a pure computation on Web Workers (Bun and Deno both have them), so that it does not block the event
 * loop. Workers start at the first need and end after a minute of rest. The worker script answers each
 * `postMessage(input)` with `{ok: true, value}` or `{ok: false, error: string}`, one at a time.
 */
export class WorkerPool<I, O> {
  private readonly waiting: Waiting[] = [];
  private readonly idle: Worker[] = [];
  private readonly all = new Set<Worker>();
  private restTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly script: URL,
    private readonly size: number,
    /** More waiting than this is refused with `upstream-unavailable`. */
    private readonly maxWaiting = 500,
  ) {}

  run(input: I): Promise<O> {
    if (this.waiting.length >= this.maxWaiting) return Promise.reject(unavailable('Password checking'));
    return new Promise<O>((resolve, reject) => {
      this.waiting.push({ input, resolve: resolve as (value: unknown) => void, reject });
      this.dispatch();
    });
  }

  stop(): void {
    clearTimeout(this.restTimer);
    for (const worker of this.all) worker.terminate();
    this.all.clear();
    this.idle.length = 0;
    for (const { reject } of this.waiting.splice(0)) reject(unavailable('Password checking'));
  }

  private dispatch(): void {
    while (this.waiting.length > 0) {
      const worker = this.idle.pop() ?? (this.all.size < this.size ? this.spawn() : undefined);
      if (!worker) return;
      this.give(worker, this.waiting.shift()!);
    }
  }

  private spawn(): Worker {
    const worker = new Worker(this.script, { type: 'module' });
    this.all.add(worker);
    return worker;
  }

  private give(worker: Worker, job: Waiting): void {
    clearTimeout(this.restTimer);
    worker.onmessage = ({ data }: MessageEvent<{ ok: boolean; value?: unknown; error?: string }>) => {
      if (data.ok) job.resolve(data.value);
      else job.reject(new Error(data.error));
      this.idle.push(worker);
      this.dispatch();
      if (this.idle.length === this.all.size) this.rest();
    };
    worker.onerror = (event) => {
      event.preventDefault?.();
      this.all.delete(worker);
      worker.terminate();
      job.reject(new Error(`worker failed: ${event.message}`));
      this.dispatch();
    };
    worker.postMessage(job.input);
  }

  private rest(): void {
    this.restTimer = setTimeout(() => {
      for (const worker of this.idle.splice(0)) {
        this.all.delete(worker);
        worker.terminate();
      }
    }, 60_000);
    (this.restTimer as { unref?: () => void }).unref?.();
  }
}
