import type { Log } from '../observability/log.ts';

/** Longest that a process takes to stop, in milliseconds; then it is cut off with exit code 1. */
export const STOP_DEADLINE_MS = 20_000;

/**
 * Runs `stop` once on SIGTERM or SIGINT and exits 0. A second Ctrl-C, a second or more after the first, exits at once;
 * a signal that only comes twice because it went to the whole process group changes nothing.
 */
export function onStopSignal(log: Log, stop: () => Promise<void>, deadlineMs = STOP_DEADLINE_MS): void {
  let stoppingSince = 0;
  const handle = (signal?: NodeJS.Signals): void => {
    if (stoppingSince > 0) {
      if (signal === 'SIGINT' && Date.now() - stoppingSince > 1_000) process.exit(130);
      return;
    }
    stoppingSince = Date.now();
    setTimeout(() => {
      log.error({}, 'stopping took too long');
      process.exit(1);
    }, deadlineMs).unref?.();
    stop().then(
      () => process.exit(0),
      (error) => {
        log.error({ reason: String(error) }, 'stopping failed');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', handle);
  process.on('SIGINT', handle);
  endWithParent();
}

/**
 * Ends at once, as by `kill -9`, when whoever started us is gone: its successor needs our ports and data. A supervisor
 * holds our standard input open; the start script says its process id.
 */
function endWithParent(): void {
  if (process.env.LYCEUM_SUPERVISED) {
    process.stdin.on('end', () => process.exit(1));
    process.stdin.on('error', () => {});
    process.stdin.resume();
  }
  const parent = Number(process.env.LYCEUM_PARENT_PID);
  if (parent && process.ppid === parent) {
    setInterval(() => {
      if (process.ppid !== parent) process.exit(1);
    }, 200).unref?.();
  }
}

/** An error that no code awaited is a defect to be seen in the log, not a reason to drop everybody's connections. */
export function logStrayErrors(log: Log): void {
  process.on('unhandledRejection', (reason) => {
    log.error({ reason: reason instanceof Error ? reason.stack : String(reason) }, 'unhandled rejection');
  });
  process.on('uncaughtException', (error) => {
    log.error({ reason: error.stack }, 'uncaught exception');
  });
}
