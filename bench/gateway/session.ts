import { mkdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '../../shared/wait-for.ts';
import type { Load, Target } from './load.ts';
import type { Options } from './options.ts';
import { type Ground, type PeerName, peerOf, type RunningPeer, tailOf } from './peers.ts';
import { type Program, processorSeconds, whileRunning } from './programs.ts';
import type { TokenMint } from './tokens.ts';
import { PATHS, SMALL_REPLY } from './upstreams.ts';

const READY_MS = 30_000;

/** What one run of the benchmark has at hand. */
export interface Session {
  options: Options;
  dir: string;
  ground: Ground;
  redis: Program;
  load: Load;
  mint: TokenMint;
  running: Map<PeerName, RunningPeer>;
  /** What went wrong, in the words of the last lines of the report. */
  failures: string[];
}

/** Starts a peer and waits for its first right answer. `attempt` keeps the files of several starts apart. */
export async function startPeer(session: Session, name: PeerName, attempt: number): Promise<void> {
  const dir = join(session.dir, `${name}-${attempt}`);
  mkdirSync(dir, { recursive: true });
  const peer = await peerOf(name).start(session.ground, dir);
  session.running.set(name, peer);
  const [token = ''] = await session.mint.tokens();
  try {
    const answers = async (): Promise<void> => {
      const reply = await ask(session, name, PATHS.small, token);
      if (reply.status !== 200 || (await reply.text()) !== SMALL_REPLY)
        throw new Error(`status ${reply.status}`);
    };
    await whileRunning(peer.programs, waitFor(name, answers, READY_MS));
  } catch (error) {
    throw new Error(`${String(error)}\n${tailOf(join(dir, 'out.log'))}`);
  }
}

export async function stopPeer(session: Session, name: PeerName): Promise<void> {
  const peer = session.running.get(name);
  session.running.delete(name);
  await Promise.all(peer?.programs.map((program) => program.stop()) ?? []);
}

/** Access logs grow by megabytes a second. */
export function emptyAccessLogs(session: Session): void {
  for (const { accessLog } of session.running.values()) if (accessLog) truncateSync(accessLog);
}

/** Where a peer answers a path: for `direct`, the upstream that has it. */
export function targetOf({ running, ground }: Session, name: PeerName, path: string): Target {
  const own = running.get(name)?.port;
  const route = ground.upstreams.routes.find(({ prefix }) => path.startsWith(prefix));
  const port = own ?? route?.upstream;
  if (port === undefined) throw new Error(`${path} is nowhere`);
  return { address: `127.0.0.1:${port}`, path };
}

export function ask(
  session: Session,
  name: PeerName,
  path: string,
  token?: string,
  body?: string,
): Promise<Response> {
  return fetch(`http://${targetOf(session, name, path).address}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    body,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    signal: AbortSignal.timeout(10_000),
    redirect: 'manual',
  });
}

/** Runs something and says how many processor seconds a peer and Redis spent meanwhile. */
export async function withProcessorTime<T>(
  { running, redis }: Session,
  name: PeerName,
  work: () => Promise<T>,
): Promise<{ result: T; peerSeconds: number; redisSeconds: number }> {
  const ofPeer = (): number =>
    (running.get(name)?.programs ?? []).reduce((sum, { pid }) => sum + processorSeconds(pid), 0);
  const before = { peer: ofPeer(), redis: processorSeconds(redis.pid) };
  const result = await work();
  return {
    result,
    peerSeconds: ofPeer() - before.peer,
    redisSeconds: processorSeconds(redis.pid) - before.redis,
  };
}

/**
 * Measures every peer `repeat` times, in turns, so that what changes on the machine meanwhile hits all alike. A peer
 * that fails is told among the failures and left out of the rest of this workload.
 */
export async function takeTurns<T>(
  session: Session,
  what: string,
  names: PeerName[],
  measure: (name: PeerName) => Promise<T>,
): Promise<Map<PeerName, T[]>> {
  const taken = new Map<PeerName, T[]>(names.map((name) => [name, []]));
  for (let turn = 0; turn < session.options.repeat; turn++) {
    for (const name of [...taken.keys()]) {
      try {
        taken.get(name)?.push(await measure(name));
      } catch (error) {
        session.failures.push(`${what}, ${name}: ${error instanceof Error ? error.message : String(error)}`);
        taken.delete(name);
      }
    }
  }
  return taken;
}
