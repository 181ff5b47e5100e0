import { createLog, type LogLevel } from '../shared/observability/log.ts';
import { createMetrics } from '../shared/observability/metrics.ts';
import { openClusterGateway } from '../shared/platform/cluster-gateway.ts';
import { logStrayErrors, onStopSignal } from '../shared/platform/signals.ts';
import { parseGatewayConfig } from './config.ts';
import { gatewayEnvironment } from './config-file.ts';
import { createGateway } from './gateway.ts';

/** Requests and sockets in hand have so long when the process is asked to stop, in milliseconds. */
const GRACE_MS = 15_000;

const log = createLog('gateway', (process.env.LOG_LEVEL as LogLevel | undefined) ?? 'info');
logStrayErrors(log);
try {
  const readConfig = () => parseGatewayConfig(gatewayEnvironment(process.env));
  const config = readConfig();
  const platform = await openClusterGateway(process.env, log);
  const { ephemeral, tokens } = platform;
  const gateway = await createGateway({
    config,
    readConfig,
    ephemeral,
    tokens,
    log,
    metrics: createMetrics('gateway'),
    reusePort: true,
  });
  // What went wrong, if something did, is in the log.
  process.on('SIGHUP', () => void gateway.reload().catch(() => {}));
  onStopSignal(log, async () => {
    await gateway.stop(GRACE_MS);
    await platform.close();
  });
} catch (error) {
  log.error({ reason: error instanceof Error ? error.message : String(error) }, 'could not start');
  process.exit(1);
}
