import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

/** The real servers as `npm run servers -- up` describes them. Fields that a test doesn't need are left out. */
const Servers = z.object({
  postgres: z.object({ url: z.string(), pid: z.number().optional() }).optional(),
  redis: z.object({ url: z.string(), pid: z.number().optional() }).optional(),
  rabbitmq: z.object({ url: z.string(), pid: z.number().optional() }).optional(),
  s3: z
    .object({ url: z.string(), accessKey: z.string(), secretKey: z.string(), pid: z.number().optional() })
    .optional(),
  smtp: z.object({ url: z.string(), httpUrl: z.string().optional() }).optional(),
});
export type Servers = z.infer<typeof Servers>;

/**
 * The running servers, or undefined where there are none; LYCEUM_SERVERS names another file than the usual.
 * With CI=true their absence is an error, so that a test run can't pass by skipping its real half.
 */
export async function realServers(): Promise<Servers | undefined> {
  const path =
    process.env.LYCEUM_SERVERS ?? fileURLToPath(new URL('../../.data/servers/servers.json', import.meta.url));
  if (existsSync(path)) return Servers.parse(JSON.parse(readFileSync(path, 'utf8')));
  if (process.env.CI === 'true')
    throw new Error(
      `The real servers are not running: ${path} is missing. Start them with npm run servers -- up`,
    );
  return undefined;
}

/** One of the servers. Undefined when it is not there, an error with CI=true. */
export async function realServer<K extends keyof Servers>(
  name: K,
): Promise<NonNullable<Servers[K]> | undefined> {
  const server = (await realServers())?.[name];
  if (server === undefined && process.env.CI === 'true') throw new Error(`The real ${name} is not running`);
  return server as NonNullable<Servers[K]> | undefined;
}
