import type { Log } from './observability/log.ts';

/**
 * Asks again and again until `check` resolves. Rejects after `deadlineMs` with a message that names what was
 * waited for and the last failure.
 */
export async function waitFor(
  what: string,
  check: () => Promise<unknown>,
  deadlineMs: number,
  log?: Log,
): Promise<void> {
  const started = Date.now();
  for (let attempt = 1; ; attempt++) {
    try {
      await check();
      return;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (Date.now() - started > deadlineMs) {
        throw new Error(
          `${what} did not become available within ${Math.round(deadlineMs / 1000)} s: ${reason}`,
        );
      }
      if (attempt % 20 === 0) log?.warn({ what, reason }, 'still waiting');
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}

/**
 * What `work` resolves to, or a rejection after `ms`. An answer that has arrived while this process was busy still
 * counts: the event loop gets one turn to deliver it.
 */
export function within<T>(work: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => setImmediate(() => reject(new Error(`no answer within ${ms} ms`))), ms);
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
