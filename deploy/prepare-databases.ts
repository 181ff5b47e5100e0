import { z } from 'zod';
import { preparePostgres } from '../shared/adapters/database/postgres.ts';
import { SERVICES, type ServiceName } from '../shared/contracts/common.ts';
import { createLog } from '../shared/observability/log.ts';
import { parseEnvironment } from '../shared/platform/environment.ts';
import { waitFor } from '../shared/wait-for.ts';

/**
 * Makes a role and a schema for each service, once per installation and again whenever a password changes; it may run
 * any number of times. Reads DATABASE_ADMIN_URL (a role that may create roles, in the database to use) and
 * DATABASE_PASSWORD_<SERVICE> for each service.
 */

/** The passwords stand in the services' URLs as they are, so they must mean the same there. */
const password = z
  .string()
  .min(16)
  .regex(/^[A-Za-z0-9._~-]+$/, 'takes letters, digits and . _ ~ - only, because it becomes part of a URL');

const passwordName = (service: ServiceName): string => `DATABASE_PASSWORD_${service.toUpperCase()}`;

const Environment = z
  .object({ DATABASE_ADMIN_URL: z.string().regex(/^postgres(ql)?:\/\//) })
  .and(z.object(Object.fromEntries(SERVICES.map((service) => [passwordName(service), password]))));

const DEADLINE_MS = 120_000;

const log = createLog('prepare-databases');
try {
  const { DATABASE_ADMIN_URL: adminUrl, ...passwords } = parseEnvironment(Environment, process.env);
  for (const service of SERVICES) {
    const own = (passwords as Record<string, string>)[passwordName(service)]!;
    await waitFor('PostgreSQL', () => preparePostgres(adminUrl, service, own), DEADLINE_MS, log);
  }
  log.info({ services: SERVICES }, 'the databases are ready');
  process.exit(0);
} catch (error) {
  log.error({ reason: error instanceof Error ? error.message : String(error) }, 'could not prepare');
  process.exit(1);
}
