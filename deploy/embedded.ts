import { mkdir, rename, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pino } from 'pino';
import { z } from 'zod';
import { parseGatewayConfig } from '../gateway/config.ts';
import { gatewayEnvironment } from '../gateway/config-file.ts';
import { createGateway } from '../gateway/gateway.ts';
import { createAnalytics } from '../services/analytics/service.ts';
import { createAuth } from '../services/auth/service.ts';
import { createChat } from '../services/chat/service.ts';
import { createContent } from '../services/content/service.ts';
import { createNotifications } from '../services/notifications/service.ts';
import { createProfile } from '../services/profile/service.ts';
import type { ServiceName } from '../shared/contracts/common.ts';
import { createLog } from '../shared/observability/log.ts';
import { createMetrics } from '../shared/observability/metrics.ts';
import { openEmbedded } from '../shared/platform/embedded.ts';
import { CommonEnvironment, firstAdminOf, parseEnvironment } from '../shared/platform/environment.ts';
import { logStrayErrors, onStopSignal } from '../shared/platform/signals.ts';
import { VERSION } from '../shared/platform/version.ts';
import { type RunningService, type Service, type ServiceDeps, startService } from '../shared/service.ts';
import { type DemoAccount, demoAccounts } from './demo/accounts.ts';
import { seedDemo } from './demo/seed.ts';
import { startMailCatcher } from './mail-catcher/mail-catcher.ts';
import { freePorts } from './ports.ts';

/** `npm start`: the gateway and all six services in one process on embedded parts. */

const Environment = CommonEnvironment.extend({
  PORT: z.coerce.number().int().min(0).max(65_535).default(8080),
  HOST: z.string().default('127.0.0.1'),
  INTERNAL_PORT: z.coerce.number().int().min(0).max(65_535).default(8081),
  DATA_DIR: z.string().default('.data'),
  LYCEUM_DEMO: z.enum(['on', 'off']).default('on'),
});

// biome-ignore lint/suspicious/noExplicitAny: six services with six schemas
type AnyFactory = (deps: ServiceDeps<any>) => Promise<Service<any>>;

/** In the order in which they stop: those that write first, the readers of their events last. */
const FACTORIES: [ServiceName, AnyFactory][] = [
  ['auth', createAuth],
  ['profile', createProfile],
  ['content', createContent],
  ['chat', createChat],
  ['notifications', createNotifications],
  ['analytics', createAnalytics],
];

async function main(): Promise<void> {
  const env = parseEnvironment(Environment, process.env);
  const dataDir = resolve(env.DATA_DIR);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const logFile = join(dataDir, 'logs', 'lyceum.log');
  await rotate(logFile);
  const log = createLog(
    'embedded',
    env.LOG_LEVEL,
    pino.destination({ dest: logFile, mkdir: true, sync: true }),
  );
  logStrayErrors(log);

  const demo = env.LYCEUM_DEMO === 'on' ? await demoAccounts(dataDir) : undefined;
  const publicUrl = (env.PUBLIC_URL ?? `http://localhost:${env.PORT}`).replace(/\/$/, '');
  const mail = await startMailCatcher({ smtpPort: 0, httpPort: 0, dir: join(dataDir, 'mail') });
  const ports = await freePorts(FACTORIES.length);
  const address = (name: ServiceName): string =>
    `http://127.0.0.1:${ports[FACTORIES.findIndex(([candidate]) => candidate === name)]}`;

  const platform = await openEmbedded({
    dataDir,
    log,
    authUrl: address('auth'),
    smtp: { url: mail.smtpUrl, from: 'Lyceum <no-reply@lyceum.example>' },
    settings: {
      publicUrl,
      version: VERSION,
      limitScale: env.LYCEUM_LIMIT_SCALE,
      accessTokenSeconds: env.LYCEUM_ACCESS_TOKEN_SECONDS,
      firstAdmin: firstAdminOf(env) ?? demo?.find((account) => account.role === 'admin'),
    },
  });
  const start = async (
    [name, factory]: (typeof FACTORIES)[number],
    index: number,
  ): Promise<RunningService> => {
    const deps = await platform.depsFor(name);
    return startService(await factory(deps), deps, { hostname: '127.0.0.1', port: ports[index]! });
  };
  // They wait for one database, but not for each other.
  const services = await Promise.all(FACTORIES.map(start));
  const readConfig = () =>
    parseGatewayConfig({
      ...gatewayEnvironment(process.env),
      ...Object.fromEntries(FACTORIES.map(([name]) => [`UPSTREAM_${name.toUpperCase()}`, address(name)])),
      PORT: String(env.PORT),
      HOST: env.HOST,
      INTERNAL_PORT: String(env.INTERNAL_PORT),
      PUBLIC_URL: publicUrl,
      LYCEUM_DEV_MAIL: mail.httpUrl,
    });
  const gateway = await createGateway({
    config: readConfig(),
    readConfig,
    ephemeral: platform.ephemeral,
    tokens: platform.tokens,
    log: log.child({ service: 'gateway' }),
    metrics: createMetrics('gateway'),
  });

  const stop = async (): Promise<void> => {
    await gateway.stop(5_000);
    for (const service of services) await service.stop(5_000);
    await platform.close();
    await mail.stop();
  };
  onStopSignal(log, stop);

  const url = `http://localhost:${gateway.port}`;
  if (demo) await seedDemo({ url, dataDir, accounts: demo, mailUrl: mail.httpUrl });
  console.log(welcome({ url, internalPort: gateway.internalPort, dataDir, logFile, demo }));
  console.log(`ready ${url}`);
}

/** One old log is kept; a log of days would fill the disk. */
async function rotate(file: string): Promise<void> {
  const size = await stat(file).then(
    (info) => info.size,
    () => 0,
  );
  if (size > 50_000_000) await rename(file, `${file}.1`);
}

function welcome(about: {
  url: string;
  internalPort: number;
  dataDir: string;
  logFile: string;
  demo: DemoAccount[] | undefined;
}): string {
  const accounts =
    about.demo?.map(({ role, email, password }) => `    ${role.padEnd(8)} ${email.padEnd(24)} ${password}`) ??
    [];
  return [
    '',
    `  Lyceum ${VERSION}, everything in one process`,
    '',
    `  Start page        ${about.url}/`,
    `  API reference     ${about.url}/docs`,
    `  Mail it has sent  ${about.url}/dev/mail`,
    `  Metrics           http://127.0.0.1:${about.internalPort}/metrics`,
    `  Data              ${about.dataDir}`,
    `  Log               ${about.logFile}`,
    ...(accounts.length > 0 ? ['', '  Demo accounts', ...accounts] : []),
    '',
  ].join('\n');
}

main().catch((error) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
