import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

export interface Servers {
  postgres: { url: string };
  redis: { url: string };
  rabbitmq: { url: string };
  s3: { url: string; accessKey: string; secretKey: string };
  smtp: { url: string };
}

const Server = z.object({ url: z.string() });
/** What `up()` of deploy/servers resolves to, or some of it: for servers that somebody else runs. */
const Described = z.object({
  postgres: Server.optional(),
  redis: Server.optional(),
  rabbitmq: Server.optional(),
  s3: Server.extend({ accessKey: z.string(), secretKey: z.string() }).optional(),
  smtp: Server.optional(),
});
/** The state that `npm run servers -- up` keeps. */
const State = z.object({
  ports: z.object({
    postgres: z.number(),
    redis: z.number(),
    rabbitmq: z.number(),
    s3: z.number(),
    smtp: z.number(),
  }),
  secrets: z.object({ postgres: z.string(), redis: z.string(), rabbitmq: z.string(), s3: z.string() }),
});

/**
 * The real servers that answer now, or undefined where none are known; LYCEUM_SERVERS names another file than
 * `.data/servers/servers.json`. With CI=true their absence is an error, so that a run can't pass by skipping.
 */
export async function realServers(): Promise<Partial<Servers> | undefined> {
  const path =
    process.env.LYCEUM_SERVERS ?? fileURLToPath(new URL('../../.data/servers/servers.json', import.meta.url));
  if (!existsSync(path)) {
    if (process.env.CI === 'true') throw new Error(`The real servers are not running: ${path} is missing`);
    return undefined;
  }
  const json: unknown = JSON.parse(readFileSync(path, 'utf8'));
  const state = State.safeParse(json);
  return state.success ? fromState(state.data) : (Described.parse(json) as Partial<Servers>);
}

/** One of them. Undefined when it is not there or does not answer; an error with CI=true. */
export async function realServer<K extends keyof Servers>(name: K): Promise<Servers[K] | undefined> {
  const server = (await realServers())?.[name];
  if (server !== undefined && (await answers(server.url))) return server;
  if (process.env.CI === 'true')
    throw new Error(`The real ${name} is not running. Start it with: npm run servers -- up`);
  return undefined;
}

function fromState({ ports, secrets }: z.infer<typeof State>): Servers {
  return {
    postgres: { url: `postgres://lyceum:${secrets.postgres}@127.0.0.1:${ports.postgres}/lyceum` },
    redis: { url: `redis://:${secrets.redis}@127.0.0.1:${ports.redis}` },
    rabbitmq: { url: `amqp://lyceum:${secrets.rabbitmq}@127.0.0.1:${ports.rabbitmq}` },
    s3: { url: `http://127.0.0.1:${ports.s3}`, accessKey: 'lyceum', secretKey: secrets.s3 },
    smtp: { url: `smtp://127.0.0.1:${ports.smtp}` },
  };
}

function answers(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port), timeout: 2_000 });
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true));
    socket.once('timeout', () => end(false));
    socket.once('error', () => end(false));
  });
}
