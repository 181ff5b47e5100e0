import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { median } from '../table.ts';
import { type Latency, runWrk } from './load.ts';
import type { PeerName } from './peers.ts';
import { peakMemory } from './programs.ts';
import { type Session, startPeer, stopPeer, takeTurns, targetOf, withProcessorTime } from './session.ts';
import { PATHS, STREAM_BYTES } from './upstreams.ts';
import { CONNECTIONS, RELAY } from './workloads.ts';

/** Discarded runs, so that compilers and connections are warm. */
const WARMUP_SECONDS = 2;
/** A peer this close to its own most would show its queue, not its latency. */
const HEADROOM = 1.1;

/** Of one peer, one number a turn. Processor time is of the peer's processes, per request, delivery or GiB. */
export interface Throughput {
  perSecond: number[];
  processor: number[];
  redisProcessor: number[];
}

export interface StreamMeasured extends Throughput {
  /** MB: most that was resident when the peer had just started, and after the streams. */
  memory: { before: number; peak: number };
}

export type Measured<T> = Map<PeerName, T>;

async function tokensFile(session: Session): Promise<{ file: string; first: string }> {
  const tokens = await session.mint.tokens();
  const file = join(session.dir, 'tokens');
  writeFileSync(file, tokens.join('\n'));
  return { file, first: tokens[0] ?? '' };
}

/** As many requests as go. A reply that is no success, or a connection that breaks, is a failure. */
export async function measureRequests(
  session: Session,
  what: string,
  names: PeerName[],
  work: { path: string; connections: number; bodyBytes?: number },
  seconds = session.options.seconds,
): Promise<Measured<Throughput>> {
  const { file } = await tokensFile(session);
  const once = async (name: PeerName, duration: number) => {
    const { address, path } = targetOf(session, name, work.path);
    const { connections, bodyBytes } = work;
    const url = `http://${address}${path}`;
    const result = await runWrk({ url, connections, seconds: duration, tokensFile: file, bodyBytes });
    const { status, connect, read, write, timeout } = result;
    if (status + connect + read + write + timeout > 0) {
      const counts = Object.entries({ status, connect, read, write, timeout });
      const bad = counts.filter(([, count]) => count > 0).map(([kind, count]) => `${count} × ${kind}`);
      throw new Error(`of ${result.requests} requests these failed: ${bad.join(', ')}`);
    }
    return result;
  };
  const warm = new Set<PeerName>();
  const turns = await takeTurns(session, what, names, async (name) => {
    if (!warm.has(name)) await once(name, WARMUP_SECONDS);
    warm.add(name);
    const { result, peerSeconds, redisSeconds } = await withProcessorTime(session, name, () =>
      once(name, seconds),
    );
    if (result.requests === 0) throw new Error(`no request was answered within ${seconds} s`);
    return {
      perSecond: result.requests / result.seconds,
      processor: (peerSeconds / result.requests) * 1e6,
      redisProcessor: (redisSeconds / result.requests) * 1e6,
    };
  });
  return mapValues(turns, throughputOf);
}

/** One large body, with processes that have done nothing else: MiB/s, processor seconds and peak memory in MB. */
export async function measureStream(
  session: Session,
  what: string,
  names: PeerName[],
  direction: 'down' | 'up',
): Promise<Measured<StreamMeasured>> {
  const memoryOf = (name: PeerName): number =>
    (session.running.get(name)?.programs ?? []).reduce((sum, { pid }) => sum + peakMemory(pid), 0);
  const before = new Map<PeerName, number>();
  for (const name of names) {
    await stopPeer(session, name);
    await startPeer(session, name, 1 + Math.floor(performance.now()));
    before.set(name, memoryOf(name));
  }
  const { first: token } = await tokensFile(session);
  const turns = await takeTurns(session, what, names, async (name) => {
    const target = targetOf(session, name, PATHS[direction]);
    const { result, peerSeconds, redisSeconds } = await withProcessorTime(session, name, () =>
      session.load[direction](target, { token, size: STREAM_BYTES }),
    );
    return {
      perSecond: STREAM_BYTES / 2 ** 20 / result.seconds,
      processor: peerSeconds,
      redisProcessor: redisSeconds,
    };
  });
  return mapValues(turns, (list, name) => ({
    ...throughputOf(list),
    memory: { before: before.get(name) ?? 0, peak: memoryOf(name) },
  }));
}

export interface RelayMeasured {
  most: Measured<Throughput>;
  /** Deliveries a second of the second part, which is half of the most of the slower of Lyceum and nginx. */
  rate: number;
  latency: Measured<Latency[]>;
  tooSlow: PeerName[];
}

/** Deliveries as many as go, then delays at one rate for all. */
export async function measureRelay(
  session: Session,
  what: string,
  names: PeerName[],
): Promise<RelayMeasured> {
  const { seconds } = session.options;
  const target = (name: PeerName) => targetOf(session, name, PATHS.relay);
  const turns = await takeTurns(session, what, names, async (name) => {
    const { result, peerSeconds, redisSeconds } = await withProcessorTime(session, name, () =>
      session.load.relay(target(name), { seconds }),
    );
    if (result.incomplete > 0) throw new Error(`${result.incomplete} messages did not reach everybody`);
    return {
      perSecond: result.perSecond,
      processor: (peerSeconds / result.deliveries) * 1e6,
      redisProcessor: (redisSeconds / result.deliveries) * 1e6,
    };
  });
  const most = mapValues(turns, throughputOf);
  const { rate, able, tooSlow } = halfOfTheSlower(most, [...most.keys()]);
  const messages = rate / RELAY.socketsPerRoom;
  const latency = await takeTurns(session, `${what} at a fixed rate`, able, async (name) => {
    const result = await session.load.relay(target(name), { seconds, rate: messages });
    if (result.incomplete > 0) throw new Error(`${result.incomplete} messages did not reach everybody`);
    return result;
  });
  return { most, rate, latency, tooSlow };
}

export interface LatencyMeasured {
  rate: number;
  latency: Measured<(Latency & { achieved: number })[]>;
  tooSlow: PeerName[];
}

/** Delays at one rate for all, which is half of what the slower of Lyceum and nginx can do. */
export async function measureLatency(
  session: Session,
  what: string,
  names: PeerName[],
  /** What is known of how much each can do. */
  known: Measured<Throughput> | undefined,
): Promise<LatencyMeasured> {
  const unknown = names.filter((name) => !known?.has(name));
  const work = { path: PATHS.small, connections: CONNECTIONS.few };
  const found = await measureRequests(session, `${what}, how much goes`, unknown, work);
  const capacity = new Map([...(known ?? []), ...found]);
  const { rate, able, tooSlow } = halfOfTheSlower(
    capacity,
    names.filter((name) => capacity.has(name)),
  );
  const { file } = await tokensFile(session);
  const latency = await takeTurns(session, what, able, async (name) => {
    const options = { tokens: file, rate, seconds: session.options.seconds };
    const result = await session.load.rate(targetOf(session, name, PATHS.small), options);
    if (result.failed > 0) throw new Error(`${result.failed} requests failed`);
    return result;
  });
  return { rate, latency, tooSlow };
}

function halfOfTheSlower(
  capacity: Measured<Throughput>,
  names: PeerName[],
): { rate: number; able: PeerName[]; tooSlow: PeerName[] } {
  const most = (name: PeerName): number => median(capacity.get(name)?.perSecond ?? []);
  const compared = names.filter((name) => name === 'lyceum' || name === 'nginx');
  const rate = Math.round(Math.min(...(compared.length > 0 ? compared : names).map(most)) / 2);
  const able = names.filter((name) => most(name) > HEADROOM * rate);
  return { rate, able, tooSlow: names.filter((name) => !able.includes(name)) };
}

function throughputOf(turns: { perSecond: number; processor: number; redisProcessor: number }[]): Throughput {
  return {
    perSecond: turns.map((turn) => turn.perSecond),
    processor: turns.map((turn) => turn.processor),
    redisProcessor: turns.map((turn) => turn.redisProcessor),
  };
}

const mapValues = <A, B>(from: Map<PeerName, A>, change: (value: A, name: PeerName) => B): Map<PeerName, B> =>
  new Map([...from].map(([name, value]) => [name, change(value, name)]));
