import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { preparePostgres } from '../shared/adapters/database/postgres.ts';
import { SERVICES, type ServiceName } from '../shared/contracts/common.ts';
import { createLog } from '../shared/observability/log.ts';
import { CommonEnvironment, firstAdminOf, parseEnvironment } from '../shared/platform/environment.ts';
import { onStopSignal } from '../shared/platform/signals.ts';
import { waitFor } from '../shared/wait-for.ts';
import { PROCESS_NAMES, parseClusterOptions } from './cluster/options.ts';
import { layOut } from './cluster/programs.ts';
import { databasePasswords } from './cluster/secrets.ts';
import { watchServers } from './cluster/servers.ts';
import { type Supervisor, supervise } from './cluster/supervisor.ts';
import { demoAccounts } from './demo/accounts.ts';
import { seedDemo } from './demo/seed.ts';
import { freePorts } from './ports.ts';
import { down, type Servers, status, up } from './servers/servers.ts';

/** `npm run cluster`: real servers, and one operating-system process per service, on this machine. */

const Environment = CommonEnvironment.extend({
  PORT: z.coerce.number().int().min(1).max(65_535).default(8080),
  INTERNAL_PORT: z.coerce.number().int().min(1).max(65_535).default(8081),
  HOST: z.string().default('127.0.0.1'),
  DATA_DIR: z.string().default('.data'),
  LYCEUM_DEMO: z.enum(['on', 'off']).default('on'),
});

const START_DEADLINE_MS = 90_000;
/** What our processes may take to stop, and then the servers behind them, in milliseconds. */
const PROCESSES_STOP_MS = 15_000;
const SERVERS_STOP_MS = 30_000;
const say = (line: string): void => console.log(`  ${line}`);

async function main(): Promise<void> {
  const options = parseClusterOptions(process.argv.slice(2));
  const env = parseEnvironment(Environment, process.env);
  const dataDir = resolve(env.DATA_DIR);
  const dir = join(dataDir, 'cluster');
  const serversDir = resolve(process.env.LYCEUM_SERVERS_DIR ?? join(dataDir, 'servers'));
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const publicUrl = (env.PUBLIC_URL ?? `http://localhost:${env.PORT}`).replace(/\/$/, '');
  const demo = env.LYCEUM_DEMO === 'on' ? await demoAccounts(dataDir) : undefined;
  const admin = firstAdminOf(env) ?? demo?.find((account) => account.role === 'admin');

  const wereRunning = await serversRunning(serversDir);
  const servers = await up({ dir: serversDir, log: say });
  const databaseUrls = await prepareDatabases(servers, dir);

  const count = PROCESS_NAMES.reduce((sum, name) => sum + options.replicas[name], 0);
  const programs = layOut({
    options,
    servers,
    databaseUrls,
    publicUrl,
    publicPort: env.PORT,
    host: env.HOST,
    internalPort: env.INTERNAL_PORT,
    ports: await freePorts(count),
    passOn: {
      LOG_LEVEL: env.LOG_LEVEL,
      LYCEUM_LIMIT_SCALE: String(env.LYCEUM_LIMIT_SCALE),
      LYCEUM_ACCESS_TOKEN_SECONDS: String(env.LYCEUM_ACCESS_TOKEN_SECONDS),
      ...Object.fromEntries(
        ['CORS_ORIGINS', 'FARO_URL', 'SOCKET_ADAPTER'].map((name) => [name, process.env[name] ?? '']),
      ),
      ...(admin ? { LYCEUM_ADMIN_EMAIL: admin.email, LYCEUM_ADMIN_PASSWORD: admin.password } : {}),
    },
  });

  let supervisor: Supervisor | undefined;
  const gateway = `http://localhost:${env.PORT}`;
  let write = Promise.resolve();
  const describe = (): void => {
    write = write.then(() =>
      writeClusterFile(dir, { gateway, processes: supervisor?.running() ?? [], servers: watched.servers() }),
    );
  };
  const watched = watchServers(serversDir, servers, { onChange: () => describe(), log: say });
  supervisor = supervise(programs, { logDir: join(dir, 'logs'), onChange: () => describe(), log: say });
  describe();

  const stop = async (): Promise<void> => {
    watched.stop();
    await supervisor?.stop(PROCESSES_STOP_MS);
    if (!wereRunning) await down({ dir: serversDir });
  };
  onStopSignal(createLog('cluster', 'warn'), stop, PROCESSES_STOP_MS + SERVERS_STOP_MS);

  for (const { name, replica, port } of programs) {
    await waitFor(`${name} ${replica}`, () => answersReady(port), START_DEADLINE_MS);
  }
  if (demo) await seedDemo({ url: gateway, dataDir: dir, accounts: demo, mailUrl: servers.smtp.httpUrl });
  await write;
  console.log(
    [
      '',
      '  Lyceum as a cluster on this machine',
      '',
      ...supervisor
        .running()
        .map((p) => `  ${`${p.name} ${p.replica}`.padEnd(18)} pid ${p.pid}, port ${p.port}`),
    ].join('\n'),
  );
  if (demo) {
    console.log('\n  Demo accounts');
    for (const { role, email, password } of demo)
      console.log(`    ${role.padEnd(8)} ${email.padEnd(24)} ${password}`);
  }
  console.log(`\n  State  ${join(dir, 'cluster.json')}\n  Logs   ${join(dir, 'logs')}\n`);
  console.log(`ready ${gateway}`);
}

async function serversRunning(dir: string): Promise<boolean> {
  const states = await status({ dir }).catch(() => undefined);
  return states !== undefined && Object.values(states).some((state) => state.running);
}

/** One role and schema per service in the database `lyceum`. */
async function prepareDatabases(servers: Servers, dir: string): Promise<Record<ServiceName, string>> {
  const passwords = await databasePasswords(dir);
  const urls = {} as Record<ServiceName, string>;
  for (const name of SERVICES) {
    await preparePostgres(servers.postgres.url, name, passwords[name]);
    const url = new URL(servers.postgres.url);
    url.username = `lyceum_${name}`;
    url.password = passwords[name];
    urls[name] = url.href;
  }
  return urls;
}

async function answersReady(port: number): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(3_000) });
  if (!response.ok) throw new Error(`not ready: ${(await response.text()).slice(0, 300)}`);
}

/** Replaced in one step, so that a reader never sees half of it. It has the servers' credentials: its owner's only. */
async function writeClusterFile(dir: string, content: unknown): Promise<void> {
  const path = join(dir, 'cluster.json');
  await writeFile(`${path}.new`, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

main().catch((error) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
