import type { Log } from './observability/log.ts';

/** Work that comes round: sweeping, sending queued mail. Must be safe when several processes do it at once. */
export interface Job {
  name: string;
  /** Milliseconds between the end of one run and the start of the next. */
  everyMs: number;
  run(): Promise<unknown>;
}

/** Runs each job again and again; a failure is logged and the next run goes ahead. */
export function startJobs(jobs: Job[], log: Log): { stop(): Promise<void> } {
  let stopped = false;
  const timers = new Set<ReturnType<typeof setTimeout>>();
  const running = new Set<Promise<void>>();

  const schedule = (job: Job): void => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      const run: Promise<void> = job
        .run()
        .then(
          () => {},
          (error) => {
            if (!stopped) log.warn({ job: job.name, reason: String(error) }, 'job failed; it will run again');
          },
        )
        .finally(() => {
          running.delete(run);
          if (!stopped) schedule(job);
        });
      running.add(run);
    }, job.everyMs);
    timers.add(timer);
  };
  for (const job of jobs) schedule(job);

  return {
    async stop() {
      stopped = true;
      for (const timer of timers) clearTimeout(timer);
      await Promise.all(running);
    },
  };
}
