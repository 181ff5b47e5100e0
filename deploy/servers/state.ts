import { randomBytes, randomInt } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Started } from './process.ts';

/** The servers in the order in which they are reported. */
export const SERVER_NAMES = ['postgres', 'redis', 'rabbitmq', 's3', 'smtp'] as const;
export type ServerName = (typeof SERVER_NAMES)[number];

/** Every port of every server, chosen once; those behind a dot are second ports of that server. */
export const PORTS = {
  postgres: ['postgres'],
  redis: ['redis'],
  rabbitmq: ['rabbitmq', 'rabbitmq.management', 'rabbitmq.distribution', 'rabbitmq.epmd'],
  s3: ['s3'],
  smtp: ['smtp', 'smtp.http'],
} as const satisfies Record<ServerName, readonly string[]>;
export type PortName = (typeof PORTS)[ServerName][number];

/** `servers.json`: what has to stay the same from one start to the next. Holds passwords, so mode 0600. */
export interface State {
  /** Names this set of servers apart from others on the machine (node names, containers, fallback folders). */
  id: string;
  backend?: 'docker' | 'native';
  ports: Record<PortName, number>;
  secrets: { postgres: string; redis: string; rabbitmq: string; s3: string; erlangCookie: string };
  /** Where PostgreSQL keeps its data when its account cannot reach our folder. */
  postgresFolder?: string;
}

/** Reads the state of this folder, or makes a new one with free ports and random credentials. */
export async function openState(dir: string): Promise<State> {
  return (await readState(dir)) ?? (await newState(dir));
}

/** The state of this folder; undefined where `up` never ran. */
export async function readState(dir: string): Promise<State | undefined> {
  try {
    return JSON.parse(await readFile(join(dir, 'servers.json'), 'utf8')) as State;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`${join(dir, 'servers.json')} cannot be read: ${(error as Error).message}`);
  }
}

/** The process of one server as it was last started. In a file of its own, so that servers can be started side by side. */
export async function readProcess(dir: string, name: ServerName): Promise<Started | undefined> {
  try {
    return JSON.parse(await readFile(processFile(dir, name), 'utf8')) as Started;
  } catch {
    return undefined;
  }
}

export async function saveProcess(
  dir: string,
  name: ServerName,
  started: Started | undefined,
): Promise<void> {
  if (started) await replaceFile(processFile(dir, name), JSON.stringify(started));
  else await rm(processFile(dir, name), { force: true });
}

function processFile(dir: string, name: ServerName): string {
  return join(dir, `${name}.pid.json`);
}

/** Replaces the state file in one step, so that a killed command leaves the old one or the new one. */
export async function saveState(dir: string, state: State): Promise<void> {
  await replaceFile(join(dir, 'servers.json'), `${JSON.stringify(state, null, 2)}\n`);
}

async function replaceFile(path: string, content: string): Promise<void> {
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await writeFile(temporary, content, { mode: 0o600 });
  await rename(temporary, path);
}

async function newState(dir: string): Promise<State> {
  await mkdir(dir, { recursive: true });
  const ports = {} as Record<PortName, number>;
  for (const name of Object.values(PORTS).flat()) ports[name] = await freePort(Object.values(ports));
  const secret = () => randomBytes(18).toString('hex'); // hex: it stands in URLs and configuration files as it is
  const state: State = {
    id: randomBytes(4).toString('hex'),
    ports,
    secrets: {
      postgres: secret(),
      redis: secret(),
      rabbitmq: secret(),
      s3: secret(),
      erlangCookie: secret(),
    },
  };
  await saveState(dir, state);
  return state;
}

/**
 * A port that nothing listens on. Taken from below the range that systems give to outgoing connections
 * (Linux from 32768, others from 49152): a port out of it might be some connection's at the next start.
 */
export async function freePort(taken: number[]): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = randomInt(20_000, 32_000);
    if (!taken.includes(port) && (await isFree(port))) return port;
  }
  throw new Error('No free port was found between 20000 and 32000.');
}

/** Whether a server could listen on this loopback port now. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Waits for a port to become free. @param within milliseconds */
export async function becomesFree(port: number, within: number): Promise<boolean> {
  const deadline = Date.now() + within;
  while (!(await isFree(port))) {
    if (Date.now() > deadline) return false;
    await sleep(50);
  }
  return true;
}
