import { z } from 'zod';
import { openPostgres } from '../adapters/database/postgres.ts';
import { openRedis } from '../adapters/ephemeral-store/redis.ts';
import { openRabbitmq } from '../adapters/event-bus/rabbitmq.ts';
import { openSmtp } from '../adapters/mail/smtp.ts';
import { openMinio } from '../adapters/object-store/minio.ts';
import { openRedisSocketAdapter } from '../adapters/socket-adapter/redis.ts';
import type { ServiceName } from '../contracts/common.ts';
import type { KernelTables } from '../db/kernel.ts';
import { databaseReady } from '../db/ready.ts';
import type { Log } from '../observability/log.ts';
import { createMetrics } from '../observability/metrics.ts';
import type { ServiceDeps } from '../service.ts';
import { waitFor } from '../wait-for.ts';
import {
  Addresses,
  CommonEnvironment,
  type Environment,
  firstAdminOf,
  parseEnvironment,
} from './environment.ts';
import { tokenVerifier } from './platform.ts';
import { VERSION } from './version.ts';

/** What a service process reads from its environment. No default for anything secret. */
export const ServiceEnvironment = CommonEnvironment.extend({
  HOST: z.string().default('127.0.0.1'),
  PORT: z.coerce.number().int().min(0).max(65_535),
  PUBLIC_URL: z.url(),
  DATABASE_URL: z.string().regex(/^postgres(ql)?:\/\//),
  DATABASE_POOL: z.coerce.number().int().min(1).max(200).default(10),
  REDIS_URL: z.string().regex(/^rediss?:\/\//),
  /** How Socket.IO's processes hear of each other; `sharded` needs Redis 7. */
  SOCKET_ADAPTER: z.enum(['pubsub', 'sharded']).default('pubsub'),
  AMQP_URL: z.string().regex(/^amqps?:\/\//),
  S3_URL: z.url(),
  S3_ACCESS_KEY: z.string().min(1),
  S3_SECRET_KEY: z.string().min(1),
  S3_BUCKET: z.string().min(3).max(63).default('lyceum'),
  SMTP_URL: z.string().regex(/^smtps?:\/\//),
  MAIL_FROM: z.string().min(3).default('Lyceum <no-reply@lyceum.example>'),
  AUTH_URL: Addresses,
});

/** How long a process waits at its start for the servers it can't do without. */
const START_DEADLINE_MS = 60_000;
/** An index over a large table may take hours. */
const MIGRATION_STATEMENT_MS = 12 * 3_600_000;

/** PostgreSQL, Redis, RabbitMQ and S3 for one service of this process. The only place that chooses these adapters. */
export async function openClusterService<S extends KernelTables>(
  service: ServiceName,
  env: Environment,
  log: Log,
): Promise<{ deps: ServiceDeps<S>; listen: { hostname: string; port: number }; close(): Promise<void> }> {
  const config = parseEnvironment(ServiceEnvironment, env);
  const db = openPostgres<S>({ url: config.DATABASE_URL, max: config.DATABASE_POOL });
  const migrationDb = openPostgres<S>({
    url: config.DATABASE_URL,
    max: 2,
    statementTimeoutMs: MIGRATION_STATEMENT_MS,
  });
  const ephemeral = openRedis({ url: config.REDIS_URL, log });
  const tokens = tokenVerifier(config.AUTH_URL, ephemeral);
  const bus = await openRabbitmq({ url: config.AMQP_URL, log });
  const objects = await openMinio({
    url: config.S3_URL,
    accessKey: config.S3_ACCESS_KEY,
    secretKey: config.S3_SECRET_KEY,
    bucket: config.S3_BUCKET,
    log,
  });
  const mailer = openSmtp({ url: config.SMTP_URL, from: config.MAIL_FROM, log });
  const socketAdapter = openRedisSocketAdapter({
    url: config.REDIS_URL,
    log,
    sharded: config.SOCKET_ADAPTER === 'sharded',
  });
  await waitFor('PostgreSQL', () => databaseReady(db), START_DEADLINE_MS, log);
  return {
    listen: { hostname: config.HOST, port: config.PORT },
    deps: {
      db,
      migrationDb,
      bus,
      objects,
      ephemeral,
      mailer,
      socketAdapter,
      tokens,
      log,
      metrics: createMetrics(service),
      settings: {
        publicUrl: config.PUBLIC_URL.replace(/\/$/, ''),
        version: VERSION,
        limitScale: config.LYCEUM_LIMIT_SCALE,
        accessTokenSeconds: config.LYCEUM_ACCESS_TOKEN_SECONDS,
        firstAdmin: firstAdminOf(config),
      },
    },
    async close() {
      await bus.close();
      await tokens.close();
      await Promise.all([mailer.close(), objects.close(), socketAdapter.close(), ephemeral.close()]);
      await db.destroy();
    },
  };
}
