import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SERVICES, type ServiceName } from '../../shared/contracts/common.ts';
import type { Servers } from '../servers/servers.ts';
import type { ClusterOptions, ProcessName } from './options.ts';
import type { Program } from './supervisor.ts';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export interface Layout {
  options: ClusterOptions;
  servers: Servers;
  databaseUrls: Record<ServiceName, string>;
  publicUrl: string;
  publicPort: number;
  host: string;
  /** Of the first gateway replica. */
  internalPort: number;
  /** One per service replica, then one internal port per further gateway replica. */
  ports: number[];
  /** What the operator set for all: limits, the first administrator, the log level. */
  passOn: Record<string, string>;
}

/**
 * Chat holds thousands of sockets that mostly rest: its heap is collected before it has grown by 60 % instead of to three
 * times its size, which would never be given back. By a fifth saves 1 KB a socket and costs a sixth of the processor time.
 * In so small a rise a third of all collections would be of the whole heap, which stops everything for 30 ms; the young
 * ones go on until they have a seventh of the heap left: one in twenty-five.
 */
export const CHAT_RUNTIME = {
  BUN_JSC_heapGrowthMaxIncrease: '0.6',
  BUN_JSC_minEdenToOldGenerationRatio: '0.15',
};

/** Every process of the cluster with its own port and only the configuration that it needs. */
export function layOut(layout: Layout): Program[] {
  const { options, servers, databaseUrls } = layout;
  const free = [...layout.ports];
  const replicasOf = (name: ProcessName) =>
    Array.from({ length: options.replicas[name] }, (_, index) => index + 1);
  const ports = new Map(SERVICES.map((name) => [name, replicasOf(name).map(() => free.shift()!)]));
  const addresses = (name: ServiceName): string[] =>
    ports.get(name)!.map((port) => `http://127.0.0.1:${port}`);
  const system = { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', NODE_ENV: 'production' };
  const common = {
    ...system,
    ...layout.passOn,
    PUBLIC_URL: layout.publicUrl,
    REDIS_URL: servers.redis.url,
    AUTH_URL: addresses('auth').join(','),
  };

  const services = SERVICES.flatMap((name) =>
    replicasOf(name).map((replica) => ({
      name,
      replica,
      port: ports.get(name)![replica - 1]!,
      ...launch(options.runtime, `services/${name}/main.ts`),
      env: {
        ...common,
        ...(name === 'chat' ? CHAT_RUNTIME : {}),
        PORT: String(ports.get(name)![replica - 1]),
        DATABASE_URL: databaseUrls[name],
        AMQP_URL: servers.rabbitmq.url,
        S3_URL: servers.s3.url,
        S3_ACCESS_KEY: servers.s3.accessKey,
        S3_SECRET_KEY: servers.s3.secretKey,
        SMTP_URL: servers.smtp.url,
      },
    })),
  );
  const gateways = replicasOf('gateway').map((replica) => ({
    name: 'gateway',
    replica,
    port: layout.publicPort,
    ...launch('bun', 'gateway/main.ts'),
    env: {
      ...common,
      ...Object.fromEntries(
        SERVICES.map((name) => [`UPSTREAM_${name.toUpperCase()}`, addresses(name).join(',')]),
      ),
      HOST: layout.host,
      // Replicas share the public port; each has an internal one of its own.
      PORT: String(layout.publicPort),
      INTERNAL_PORT: String(replica === 1 ? layout.internalPort : free.shift()),
      LYCEUM_DEV_MAIL: servers.smtp.httpUrl,
    },
  }));
  return [...services, ...gateways];
}

/** The gateway is Bun only (docs/deno.md); services run on either. */
function launch(runtime: 'bun' | 'deno', script: string): { command: string; args: string[] } {
  const path = join(ROOT, script);
  if (runtime === 'bun') return { command: process.execPath, args: [path] };
  return {
    command: denoBinary(),
    args: ['run', '-A', '--no-check', '--config', join(ROOT, 'deno.json'), path],
  };
}

/** Deno comes as a package, whose binary is in one for this platform. */
function denoBinary(): string {
  const libc = process.platform === 'linux' ? '-glibc' : '';
  const name = `@deno/${process.platform === 'win32' ? 'win32' : process.platform}-${process.arch}${libc}`;
  return join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), 'deno');
}
