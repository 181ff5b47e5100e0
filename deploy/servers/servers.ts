import { mkdir, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Backend, Context } from './backend.ts';
import { dockerAnswers, dockerBackend } from './docker.ts';
import { withLock } from './lock.ts';
import { native } from './native/native.ts';
import { probe, waitReady } from './probe.ts';
import {
  becomesFree,
  freePort,
  isFree,
  openState,
  PORTS,
  readProcess,
  readState,
  SERVER_NAMES,
  type ServerName,
  type State,
  saveProcess,
  saveState,
} from './state.ts';

export { SERVER_NAMES, type ServerName } from './state.ts';

export interface ServerInfo {
  /** With credentials, as a client wants it. */
  url: string;
  pid: number;
}

export interface Servers {
  /** The account is a superuser; the database is `lyceum`. */
  postgres: ServerInfo;
  redis: ServerInfo;
  /** `managementUrl`: the HTTP API's base, with the same account in it. */
  rabbitmq: ServerInfo & { managementUrl: string };
  s3: ServerInfo & { accessKey: string; secretKey: string };
  /** `httpUrl`: where `/dev/mail` and `/dev/mail.json` are. */
  smtp: ServerInfo & { httpUrl: string };
}

export interface ServersOptions {
  /** Where state, data and logs are. One set of servers a folder. */
  dir: string;
  log?: (line: string) => void;
  /** Where built programs are kept for all clones; `~/.cache/lyceum` unless said. */
  cache?: string;
}

export type Status = Record<
  ServerName,
  { running: boolean; ready: boolean; pid?: number; url?: string; log: string }
>;

/** How long a server may take from its start to its first right answer, milliseconds. */
const READY_WITHIN = 60_000;

/**
 * Installs what is absent, starts what does not run, and resolves when every server answers. Calling it again
 * reuses what runs. The servers outlive the caller.
 * Rejects saying what is missing on the machine, or which server did not start, with the end of its log.
 */
export async function up(options: ServersOptions): Promise<Servers> {
  const context = await contextOf(options);
  return withLock(
    join(context.dir, 'up.lock'),
    () => context.log('waiting for another command on these servers'),
    async () => {
      context.state = await openState(context.dir); // the other command may have changed it
      const backend = await chooseBackend(context);
      await replaceTakenPorts(backend, context);
      const installed = backend.install(context);
      await all(async (name) => {
        await installed[name];
        await locked(name, context, () => ensureReady(name, backend, context));
      });
      return describe(context);
    },
  );
}

/**
 * Starts one server again after it died, with the ports, data and credentials that it had.
 * One that runs and answers is left alone; one that runs and does not answer is ended first.
 */
export async function startOne(name: ServerName, options: ServersOptions): Promise<void> {
  const context = await contextOf(options);
  await locked(name, context, async () => ensureReady(name, backendOf(context.state), context));
}

/**
 * Ends all servers of this folder and resolves when they are gone. Data, ports and credentials stay for the next
 * `up`, unless `remove` says to take everything away.
 */
export async function down(options: ServersOptions & { remove?: boolean }): Promise<void> {
  const dir = resolve(options.dir);
  if (await readState(dir)) {
    const context = await contextOf(options);
    const backend = backendOf(context.state);
    const waiting = () => context.log('waiting for another command on these servers');
    await withLock(join(dir, 'up.lock'), waiting, () =>
      all((name) =>
        locked(name, context, async () => {
          const known = await readProcess(dir, name);
          await backend.stop(name, context, known);
          if (await backend.isRunning(name, context, known)) throw new Error(`${name} does not end`);
          await saveProcess(dir, name, undefined);
          if (options.remove) await backend.forget(name, context);
        }),
      ),
    );
  }
  if (options.remove) await rm(dir, { recursive: true, force: true });
}

/** What runs and what answers, without changing anything. */
export async function status(options: ServersOptions): Promise<Status> {
  const dir = resolve(options.dir);
  const state = await readState(dir);
  const result = {} as Status;
  await all(async (name) => {
    const log = join(dir, name, 'server.log');
    result[name] = { running: false, ready: false, log };
    if (!state) return;
    const known = await readProcess(dir, name);
    const running = await backendOf(state).isRunning(name, await contextOf(options), known);
    if (!running || !known) return;
    const ready = await probe(name, state).then(
      () => true,
      () => false,
    );
    result[name] = { running, ready, pid: known.pid, url: urls(state)[name], log };
  });
  return Object.fromEntries(SERVER_NAMES.map((name) => [name, result[name]])) as Status;
}

async function ensureReady(name: ServerName, backend: Backend, context: Context): Promise<void> {
  const { dir, state, log } = context;
  const known = await readProcess(dir, name);
  if (await backend.isRunning(name, context, known)) {
    // It may have been started a moment ago, or be recovering.
    const answers = await waitReady(name, state, 15_000, () => backend.isRunning(name, context, known)).then(
      () => true,
      () => false,
    );
    if (answers) return;
    log(`${name} runs and does not answer: starting it again`);
    await backend.stop(name, context, known);
  }
  for (const port of PORTS[name]) {
    if (port === 'rabbitmq.epmd') continue; // outlives a killed node, and serves the next
    // A process that was killed counts as gone when its first thread is; the others hold its ports a little longer.
    if (await becomesFree(state.ports[port], 5_000)) continue;
    throw new Error(`${name} cannot start: port ${state.ports[port]} is taken by another program.`);
  }
  const begin = Date.now();
  const now = await backend.start(name, context);
  await saveProcess(dir, name, now);
  try {
    await waitReady(name, state, READY_WITHIN, () => backend.isRunning(name, context, now));
  } catch (error) {
    throw new Error(
      `${name} did not start: ${(error as Error).message}\n${await backend.tail(name, context)}`,
    );
  }
  log(`${name} is ready (${((Date.now() - begin) / 1000).toFixed(1)} s)`);
}

/** Ports are kept, but while these servers were down some other program may have taken one. */
async function replaceTakenPorts(backend: Backend, context: Context): Promise<void> {
  const { dir, state, log } = context;
  for (const name of SERVER_NAMES) {
    if (await backend.isRunning(name, context, await readProcess(dir, name))) continue;
    for (const port of PORTS[name]) {
      if (port === 'rabbitmq.epmd' || (await isFree(state.ports[port]))) continue;
      log(`port ${state.ports[port]} of ${name} is taken by another program: choosing another`);
      state.ports[port] = await freePort(Object.values(state.ports));
      await saveState(dir, state);
    }
  }
}

async function chooseBackend(context: Context): Promise<Backend> {
  if (!context.state.backend) {
    context.state.backend = (await dockerAnswers()) ? 'docker' : 'native';
    await saveState(context.dir, context.state);
  }
  return backendOf(context.state);
}

/** What was chosen first stays, since the data is there. */
function backendOf(state: State): Backend {
  return state.backend === 'docker' ? dockerBackend : native;
}

async function contextOf(options: ServersOptions): Promise<Context> {
  const dir = resolve(options.dir);
  await mkdir(dir, { recursive: true });
  const state = await withLock(
    join(dir, 'state.lock'),
    () => {},
    () => openState(dir),
  );
  return {
    dir,
    state,
    cache: options.cache ?? join(homedir(), '.cache', 'lyceum'),
    log: options.log ?? (() => {}),
  };
}

function locked<T>(name: ServerName, { dir, log }: Context, work: () => Promise<T>): Promise<T> {
  return withLock(join(dir, `${name}.lock`), () => log(`waiting for another start of ${name}`), work);
}

/** For every server at once; all are waited for, and all that fail are told. */
async function all(work: (name: ServerName) => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(SERVER_NAMES.map((name) => work(name)));
  const reasons = results.flatMap((result) =>
    result.status === 'rejected' ? [(result.reason as Error).message] : [],
  );
  // What several servers lack is said once.
  if (reasons.length > 0) throw new Error([...new Set(reasons)].join('\n\n'));
}

function urls({ ports, secrets }: State): Record<ServerName, string> {
  return {
    postgres: `postgres://lyceum:${secrets.postgres}@127.0.0.1:${ports.postgres}/lyceum`,
    redis: `redis://:${secrets.redis}@127.0.0.1:${ports.redis}`,
    rabbitmq: `amqp://lyceum:${secrets.rabbitmq}@127.0.0.1:${ports.rabbitmq}`,
    s3: `http://127.0.0.1:${ports.s3}`,
    smtp: `smtp://127.0.0.1:${ports.smtp}`,
  };
}

async function describe({ dir, state }: Context): Promise<Servers> {
  const url = urls(state);
  const info = async (name: ServerName) => ({
    url: url[name],
    pid: (await readProcess(dir, name))?.pid ?? 0,
  });
  const { ports, secrets } = state;
  const managementUrl = `http://lyceum:${secrets.rabbitmq}@127.0.0.1:${ports['rabbitmq.management']}`;
  return {
    postgres: await info('postgres'),
    redis: await info('redis'),
    rabbitmq: { ...(await info('rabbitmq')), managementUrl },
    s3: { ...(await info('s3')), accessKey: 'lyceum', secretKey: secrets.s3 },
    smtp: { ...(await info('smtp')), httpUrl: `http://127.0.0.1:${ports['smtp.http']}` },
  };
}
