import { median, printTable } from '../table.ts';
import type { Latency } from './load.ts';
import type { LatencyMeasured, Measured, RelayMeasured, StreamMeasured, Throughput } from './measure.ts';
import type { PeerName } from './peers.ts';

/** Tables: the median of the turns, the lowest and the highest, and the ratio to nginx as a bare proxy. */

const NONE = '–';

export function printThroughput(
  measured: Measured<Throughput & Partial<StreamMeasured>>,
  units: { value: string; processor: string },
): void {
  const streams = [...measured.values()].some(({ memory }) => memory !== undefined);
  const nginx = measured.get('nginx');
  const headings = ['', units.value, 'lowest – highest', '× nginx', units.processor, '× nginx'];
  printTable(
    streams ? [...headings, 'MB before', 'MB peak'] : headings,
    [...measured].map(([name, { perSecond, processor, memory }]) => [
      name,
      number(median(perSecond)),
      `${number(Math.min(...perSecond))} – ${number(Math.max(...perSecond))}`,
      ratio(median(perSecond), nginx && median(nginx.perSecond)),
      name === 'direct' ? NONE : fixed(median(processor)),
      name === 'direct' ? NONE : ratio(median(processor), nginx && median(nginx.processor)),
      ...(memory
        ? [memory.before, memory.peak].map((size) => (name === 'direct' ? NONE : Math.round(size)))
        : []),
    ]),
  );
  const redis = [...measured]
    .map(([name, { redisProcessor }]) => [name, median(redisProcessor)] as const)
    .filter(([name, used]) => name.startsWith('lyceum') && used > 0.005);
  if (redis.length > 0) {
    const used = redis.map(([name, value]) => `${fixed(value)} for ${name}`);
    console.log(`Redis besides, ${units.processor}: ${used.join(', ')}`);
  }
}

export function printRelay({ most, rate, latency, tooSlow }: RelayMeasured): void {
  printThroughput(most, { value: 'deliveries/s', processor: 'CPU µs/delivery' });
  console.log(`\n  at ${number(rate)} deliveries/s for all, from when a message was due\n`);
  printLatency(latency, tooSlow);
}

export function printFixedRate({ rate, latency, tooSlow }: LatencyMeasured): void {
  console.log(`  ${number(rate)} requests/s for all, from when a request was due\n`);
  printLatency(latency, tooSlow);
  for (const [name, turns] of latency) {
    const achieved = median(turns.map((turn) => turn.achieved));
    if (achieved < 0.99) console.log(`${name} kept up with only ${Math.round(achieved * 100)} % of it.`);
  }
}

function printLatency(latency: Measured<Latency[]>, tooSlow: PeerName[]): void {
  const nginx = addedP99(latency, 'nginx');
  printTable(
    ['', 'p50 ms', 'p99 ms', 'lowest – highest', 'p99.9 ms', 'max ms', 'added p99 ms', '× nginx'],
    [...latency].map(([name, turns]) => {
      const p99 = turns.map((turn) => turn.p99);
      const added = addedP99(latency, name);
      return [
        name,
        fixed(median(turns.map((turn) => turn.p50))),
        fixed(median(p99)),
        `${fixed(Math.min(...p99))} – ${fixed(Math.max(...p99))}`,
        fixed(median(turns.map((turn) => turn.p999))),
        fixed(Math.max(...turns.map((turn) => turn.max))),
        added === undefined ? NONE : fixed(added),
        ratio(added, nginx),
      ];
    }),
  );
  if (tooSlow.length > 0) console.log(`Cannot do that much: ${tooSlow.join(', ')}`);
}

/** What a peer adds to the latency of the upstream itself. Undefined, too, where noise is larger than that. */
function addedP99(latency: Measured<Latency[]>, name: PeerName): number | undefined {
  const [own, direct] = [latency.get(name), latency.get('direct')];
  if (!own || !direct || name === 'direct') return undefined;
  const p99 = (turns: Latency[]): number => median(turns.map((turn) => turn.p99));
  const added = p99(own) - p99(direct);
  return added > 0 ? added : undefined;
}

export interface Results {
  throughput: Map<string, Measured<Throughput & Partial<StreamMeasured>>>;
  latency?: LatencyMeasured;
}

/** The goals of the gateway beside what was measured of them. */
export function printGoals({ throughput, latency }: Results, cores: number): void {
  const of = (workload: string, name: PeerName): number | undefined => {
    const turns = throughput.get(workload)?.get(name)?.perSecond;
    return turns && median(turns);
  };
  const compared = (workload: string, name: PeerName, to: PeerName): number | undefined => {
    const [own, other] = [of(workload, name), of(workload, to)];
    return own !== undefined && other ? own / other : undefined;
  };
  const peaks = ['down', 'up'].flatMap(
    (workload) => throughput.get(workload)?.get('lyceum')?.memory?.peak ?? [],
  );
  const addedBy = (name: PeerName): number | undefined => latency && addedP99(latency.latency, name);
  const [ownDelay, nginxDelay] = [addedBy('lyceum'), addedBy('nginx')];
  const goals: { what: string; least?: number; most?: number; value: number | undefined }[] = [
    { what: 'small, 1,024 connections, × nginx', least: 1, value: compared('small-1024', 'lyceum', 'nginx') },
    { what: 'small, 32 connections, × nginx', least: 0.9, value: compared('small', 'lyceum', 'nginx') },
    { what: 'small, 32 connections, × Express', least: 6, value: compared('small', 'lyceum', 'express') },
    {
      what: '× Express that remembers tokens',
      least: 6,
      value: compared('small', 'lyceum', 'express-cached'),
    },
    { what: 'small, 32 connections, × Fastify', least: 2, value: compared('small', 'lyceum', 'fastify') },
    {
      what: '× Fastify that remembers tokens',
      least: 2,
      value: compared('small', 'lyceum', 'fastify-cached'),
    },
    { what: 'added p99, × nginx', most: 1.2, value: ownDelay && nginxDelay && ownDelay / nginxDelay },
    { what: '1 GiB down, × nginx', least: 0.9, value: compared('down', 'lyceum', 'nginx') },
    { what: '1 GiB up, × nginx', least: 0.9, value: compared('up', 'lyceum', 'nginx') },
    { what: 'peak memory of these, MB', most: 100, value: peaks.length > 0 ? Math.max(...peaks) : undefined },
    { what: 'relay, × nginx', least: 0.9, value: compared('relay', 'lyceum', 'nginx') },
    { what: 'two processes, × one', least: 1.7, value: compared('small-1024', 'lyceum-2', 'lyceum') },
  ];
  const rows = goals.flatMap(({ what, least, most, value }) => {
    if (value === undefined) return [];
    const reached = value >= (least ?? 0) && value <= (most ?? Number.POSITIVE_INFINITY);
    const goal = least === undefined ? `≤ ${most}` : `≥ ${least}`;
    return [[what, goal, fixed(value), reached ? 'reached' : 'not reached']];
  });
  if (rows.length === 0) return;
  console.log('\nGoals\n');
  printTable(['', 'goal', 'measured', ''], rows);
  if (cores < 4 && throughput.get('small-1024')?.has('lyceum-2')) {
    console.log(
      `Two processes share ${cores} cores with the load generator and the upstream, which one process leaves busy: ` +
        'whether they do twice the work shows only on a machine with more. Their CPU time a request says what it costs.',
    );
  }
}

const number = (value: number): string => Math.round(value).toLocaleString('en-GB');
const fixed = (value: number): string => value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
const ratio = (value: number | undefined, base: number | undefined): string =>
  value === undefined || !base ? NONE : (value / base).toFixed(2);
