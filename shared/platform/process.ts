import type { ServiceName } from '../contracts/common.ts';
import type { KernelTables } from '../db/kernel.ts';
import { createLog, type LogLevel } from '../observability/log.ts';
import { type Service, type ServiceDeps, startService } from '../service.ts';
import { openClusterService } from './cluster.ts';
import { logStrayErrors, onStopSignal } from './signals.ts';

/** A service goes on answering for so long after it was asked to stop, in milliseconds: gateways ask every 2 s how it is. */
const ANNOUNCE_MS = 3_000;
/** What it has in hand then may take so long, twice at most: requests, then event handlers. */
const GRACE_MS = 8_000;

/** The body of every service's `main.ts`: configuration, start, drain on SIGTERM. */
export async function runProcess<S extends KernelTables>(
  name: ServiceName,
  factory: (deps: ServiceDeps<S>) => Promise<Service<S>>,
): Promise<void> {
  const log = createLog(name, (process.env.LOG_LEVEL as LogLevel | undefined) ?? 'info');
  logStrayErrors(log);
  try {
    const platform = await openClusterService<S>(name, process.env, log);
    const running = await startService(await factory(platform.deps), platform.deps, platform.listen);
    onStopSignal(log, async () => {
      running.announceStop();
      await new Promise((resolve) => setTimeout(resolve, ANNOUNCE_MS));
      await running.stop(GRACE_MS);
      await platform.close();
    });
  } catch (error) {
    log.error({ reason: error instanceof Error ? error.message : String(error) }, 'could not start');
    process.exit(1);
  }
}
