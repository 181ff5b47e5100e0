import { join } from 'node:path';
import { openPglite } from '../adapters/database/pglite.ts';
import { openMemoryStore } from '../adapters/ephemeral-store/memory.ts';
import { openInProcessBus } from '../adapters/event-bus/in-process.ts';
import { openSmtp } from '../adapters/mail/smtp.ts';
import { openFiles } from '../adapters/object-store/files.ts';
import { localSocketAdapter } from '../adapters/socket-adapter/local.ts';
import type { ServiceName } from '../contracts/common.ts';
import type { KernelTables } from '../db/kernel.ts';
import type { Log } from '../observability/log.ts';
import { createMetrics } from '../observability/metrics.ts';
import type { ServiceDeps, Settings } from '../service.ts';
import { type Platform, tokenVerifier } from './platform.ts';

export interface EmbeddedOptions {
  dataDir: string;
  log: Log;
  settings: Settings;
  smtp: { url: string; from: string };
  /** Base address of the auth service, for its key set. */
  authUrl: string;
}

/** Everything in one process: PGlite, files, a table as the bus, memory. The only place that chooses these adapters. */
export async function openEmbedded(options: EmbeddedOptions): Promise<Platform> {
  const { dataDir, log, settings } = options;
  const pglite = await openPglite(join(dataDir, 'postgres'));
  const bus = await openInProcessBus({ db: await pglite.database('bus'), log });
  const ephemeral = openMemoryStore();
  const objects = await openFiles(join(dataDir, 'objects'));
  const mailer = openSmtp({ ...options.smtp, log });
  const tokens = tokenVerifier([options.authUrl], ephemeral);
  return {
    ephemeral,
    tokens,
    async depsFor<S extends KernelTables>(service: ServiceName): Promise<ServiceDeps<S>> {
      return {
        db: await pglite.database<S>(service),
        bus,
        objects,
        ephemeral,
        mailer,
        socketAdapter: localSocketAdapter,
        tokens,
        log: log.child({ service }),
        metrics: createMetrics(service),
        settings,
      };
    },
    async close() {
      await bus.close();
      await tokens.close();
      await Promise.all([mailer.close(), ephemeral.close(), objects.close()]);
      await pglite.close();
    },
  };
}
