import { mkdirSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { installPackages, missing } from '../deploy/servers/native/debian.ts';
import { checkPeer } from './gateway/check.ts';
import { buildLoad, Load } from './gateway/load.ts';
import {
  type Measured,
  measureLatency,
  measureRelay,
  measureRequests,
  measureStream,
  type Throughput,
} from './gateway/measure.ts';
import { type Options, parseOptions } from './gateway/options.ts';
import { type PeerName, peerOf } from './gateway/peers.ts';
import { freePorts } from './gateway/ports.ts';
import { killPrograms, machineSeconds, runToEnd, start, stopPrograms } from './gateway/programs.ts';
import { printFixedRate, printGoals, printRelay, printThroughput, type Results } from './gateway/report.ts';
import { emptyAccessLogs, type Session, startPeer, stopPeer } from './gateway/session.ts';
import { createTokenMint } from './gateway/tokens.ts';
import { startUpstreams } from './gateway/upstreams.ts';
import { type WorkloadName, workloadOf } from './gateway/workloads.ts';

/**
 * Lyceum's gateway with all its policies on beside nginx, Express, Fastify and Traefik: the same upstreams and load
 * generators, peers taken in turns. It knows the gateway from outside only: its process, environment and ports.
 */
export async function run(args: string[]): Promise<void> {
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 2;
    return;
  }
  if (process.platform !== 'linux') throw new Error('This benchmark reads /proc and needs Linux.');
  const dir = await mkdtemp(join(tmpdir(), 'lyceum-bench-gateway-'));
  const cleanUp = (): void => {
    killPrograms();
    rmSync(dir, { recursive: true, force: true });
  };
  process.on('exit', cleanUp);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // Before the exit: Ctrl-C reaches us from the terminal and from npm, and a second one ends an exit half way.
      cleanUp();
      process.exit(130);
    });
  }

  const begin = performance.now();
  await installTools();
  const session = await openSession(options, dir);
  await printMachine();
  const peers = await startPeers(session);
  const machine = await machineSeconds();
  const results: Results = { throughput: new Map() };
  for (const name of options.only) {
    const { title, without } = workloadOf(name);
    console.log(`\n${title} (${name})\n`);
    await measure(
      session,
      name,
      peers.filter((peer) => !without.includes(peer)),
      results,
    );
    emptyAccessLogs(session);
  }
  printGoals(results, cpus().length);
  await printNoise(machine);
  await stopPrograms();
  console.log(`This took ${Math.round((performance.now() - begin) / 1_000)} s.`);
  for (const failure of session.failures) console.error(`FAILED  ${failure}`);
  if (session.failures.length > 0) process.exitCode = 1;
}

async function installTools(): Promise<void> {
  const lacking = await missing(['nginx', 'wrk', 'redis', 'go']);
  if (lacking.length > 0) await installPackages(lacking, console.log);
}

async function openSession(options: Options, dir: string): Promise<Session> {
  const program = join(dir, 'load');
  await buildLoad(program);
  const mint = await createTokenMint();
  const upstreams = await startUpstreams(join(dir, 'upstream'), program, mint.jwks);
  const [redisPort] = (await freePorts(1)) as [number];
  mkdirSync(join(dir, 'redis'));
  const redis = start({
    file: 'redis-server',
    args: [
      ...['--bind', '127.0.0.1', '--port', String(redisPort), '--dir', join(dir, 'redis')],
      ...['--save', '', '--appendonly', 'no'],
    ],
    log: join(dir, 'redis', 'out.log'),
  });
  const ground = { upstreams, redisUrl: `redis://127.0.0.1:${redisPort}` };
  return {
    ...{ options, dir, ground, redis, mint, load: new Load(program) },
    running: new Map(),
    failures: [],
  };
}

/** Starts and checks every peer that was asked for. One that can't be had is printed with the reason, and left out. */
async function startPeers(session: Session): Promise<PeerName[]> {
  const there: PeerName[] = [];
  for (const name of session.options.peers) {
    const peer = peerOf(name);
    try {
      await peer.prepare?.();
    } catch (error) {
      console.log(`${name.padEnd(15)} absent: ${error instanceof Error ? error.message : String(error)}`);
      continue;
    }
    try {
      await startPeer(session, name, 0);
      await checkPeer(session, name);
    } catch (error) {
      session.failures.push(`${name} does not work: ${error instanceof Error ? error.message : error}`);
      console.log(`${name.padEnd(15)} DOES NOT WORK, see the end`);
      await stopPeer(session, name);
      continue;
    }
    console.log(`${name.padEnd(15)} ${peer.policies}`);
    there.push(name);
  }
  return there;
}

async function measure(
  session: Session,
  name: WorkloadName,
  peers: PeerName[],
  results: Results,
): Promise<void> {
  const workload = workloadOf(name);
  switch (workload.kind) {
    case 'requests': {
      const measured = await measureRequests(session, name, peers, workload);
      results.throughput.set(name, measured);
      printThroughput(measured, { value: 'requests/s', processor: 'CPU µs/request' });
      break;
    }
    case 'stream': {
      const measured = await measureStream(session, name, peers, workload.direction);
      results.throughput.set(name, measured);
      printThroughput(measured, { value: 'MiB/s', processor: 'CPU s/GiB' });
      break;
    }
    case 'relay': {
      const measured = await measureRelay(session, name, peers);
      results.throughput.set(name, measured.most);
      printRelay(measured);
      break;
    }
    case 'latency': {
      const known: Measured<Throughput> | undefined = results.throughput.get('small');
      results.latency = await measureLatency(session, name, peers, known);
      printFixedRate(results.latency);
      break;
    }
  }
}

async function printMachine(): Promise<void> {
  const version = async (file: string, ...args: string[]): Promise<string> => {
    const output = await runToEnd(
      { file: 'sh', args: ['-c', `${file} ${args.join(' ')} 2>&1 || true`] },
      10_000,
    );
    return /\d+\.\d+[\w.]*/.exec(output)?.[0] ?? '?';
  };
  const programs = [
    ['Bun', Bun.version],
    ['Node', await version('node', '--version')],
    ['nginx', await version('nginx', '-v')],
    ['wrk', await version('wrk', '-v')],
    ['Redis', await version('redis-server', '--version')],
    ['Go', await version('go', 'version')],
  ];
  const cores = cpus();
  console.log(`${cores.length} × ${cores[0]?.model.trim() || 'processor'}, Linux ${release()}`);
  console.log(`${programs.map((each) => each.join(' ')).join(', ')}\n`);
}

/** How much the machine did for others meanwhile: the figures are good for something only when that is little. */
async function printNoise(before: { busy: number; ours: number }): Promise<void> {
  const after = await machineSeconds();
  const ours = after.ours - before.ours;
  const others = Math.max(0, after.busy - before.busy - ours);
  const share = Math.round((others / (others + ours)) * 100);
  console.log(
    `\nOther programs took ${share} % of the processor time that was spent meanwhile` +
      `${share > 5 ? ': too much for figures to rely on.' : '.'}`,
  );
}
