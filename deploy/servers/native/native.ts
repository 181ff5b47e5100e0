import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Backend, Context } from '../backend.ts';
import { prepareSmtp } from '../mail.ts';
import { type Command, isAlive, startDetached, stopProcess, tail } from '../process.ts';
import type { ServerName } from '../state.ts';
import { installPackages, missing } from './debian.ts';
import { buildMinio, minioPath } from './minio.ts';
import { preparePostgres } from './postgres.ts';
import { prepareRabbitmq, stopEpmd } from './rabbitmq.ts';
import { prepareRedis } from './redis.ts';
import { prepareS3 } from './s3.ts';

const PREPARE: Record<ServerName, (context: Context) => Promise<Command>> = {
  postgres: preparePostgres,
  redis: prepareRedis,
  rabbitmq: prepareRabbitmq,
  s3: prepareS3,
  smtp: prepareSmtp,
};

/** SIGINT is PostgreSQL's fast shutdown: it does not wait for its clients to leave. */
const STOP: Partial<Record<ServerName, NodeJS.Signals>> = { postgres: 'SIGINT' };
const STOP_GRACE = 20_000;

/** The servers as programs of this machine, installed from Debian's packages and, for S3, built from source. */
export const native: Backend = {
  install(context) {
    const packages = installMissing(context);
    const s3 = packages.then(() => buildMinio(context.cache, context.log));
    return { postgres: packages, redis: packages, rabbitmq: packages, s3, smtp: Promise.resolve() };
  },

  async start(name, context) {
    const command = await PREPARE[name](context);
    return startDetached(command, logOf(name, context));
  },

  isRunning: async (_name, _context, known) => isAlive(known),

  async stop(name, context, known) {
    await stopProcess(known, STOP[name] ?? 'SIGTERM', STOP_GRACE);
    if (name === 'rabbitmq') await stopEpmd(context);
  },

  tail: (name, context) => tail(logOf(name, context)),

  async forget(name, { state }) {
    if (name === 'postgres' && state.postgresFolder) {
      await rm(dirname(state.postgresFolder), { recursive: true, force: true });
    }
  },
};

/** One run of the package manager for all that is missing, Go included if MinIO has yet to be built. */
async function installMissing({ cache, log }: Context): Promise<void> {
  const needsGo = !existsSync(minioPath(cache));
  const lacking = await missing(['postgres', 'redis', 'rabbitmq', ...(needsGo ? (['go'] as const) : [])]);
  if (lacking.length > 0) await installPackages(lacking, log);
}

function logOf(name: ServerName, { dir }: Context): string {
  return join(dir, name, 'server.log');
}
