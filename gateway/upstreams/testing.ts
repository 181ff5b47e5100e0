import { createSocket } from 'node:dgram';
import type { AddressInfo } from 'node:net';
import { silentLog } from '../../shared/observability/log.ts';
import { seededFractions } from '../../shared/seeded-random.ts';
import { type Replica, UpstreamPool, type UpstreamPoolOptions } from './pool.ts';
import { DEFAULT_UPSTREAM_SETTINGS, type UpstreamSettings } from './settings.ts';
import { parseTargets, type UpstreamAddress } from './targets.ts';

/** For the tests of this folder: pools by a clock that the test moves, and a DNS server that says what the test wants. */

export class FakeClock {
  now = 1_000_000;
  readonly read = (): number => this.now;
  pass(ms: number): void {
    this.now += ms;
  }
}

/** Stands for the connections to a replica. */
export interface FakeConnections {
  address: UpstreamAddress;
  closed: 'no' | 'gracefully' | 'at once';
}

export type TestReplica = Replica<FakeConnections>;

/** A pool whose connections are fakes. Without `start` it sets no timer. */
export function testPool(
  list: string,
  settings: Partial<UpstreamSettings> = {},
  options: Partial<UpstreamPoolOptions<FakeConnections>> = {},
): UpstreamPool<FakeConnections> {
  return new UpstreamPool<FakeConnections>({
    name: 'chat',
    targets: parseTargets(list),
    settings: { ...DEFAULT_UPSTREAM_SETTINGS, ...settings },
    connect: (address) => ({ address, closed: 'no' }),
    closeConnections: (connections, graceful) => {
      connections.closed = graceful ? 'gracefully' : 'at once';
    },
    log: silentLog,
    random: seededFractions(1),
    ...options,
  });
}

/** How many of `times` choices, of which each ends at once, go where. */
export function countChoices(pool: UpstreamPool<FakeConnections>, times: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let turn = 0; turn < times; turn++) {
    const replica = pool.choose();
    if (!replica) continue;
    counts[replica.name] = (counts[replica.name] ?? 0) + 1;
    replica.end(replica.begin(), 'ok');
  }
  return counts;
}

export interface DnsZone {
  a?: Record<string, string[]>;
  aaaa?: Record<string, string[]>;
  srv?: Record<string, { priority: number; weight: number; port: number; name: string }[]>;
}

export interface TestDns {
  /** `address:port` */
  server: string;
  /** What it answers from; all else does not exist. Undefined: it says that it failed. */
  zone: DnsZone | undefined;
  stop(): void;
}

const TYPES = { a: 1, aaaa: 28, srv: 33 };

/** A DNS server on UDP (RFC 1035), as small as can be. */
export async function startDns(zone: DnsZone): Promise<TestDns> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const dns: TestDns = {
    server: `127.0.0.1:${(socket.address() as AddressInfo).port}`,
    zone,
    stop: () => socket.close(),
  };
  socket.on('message', (query, from) => socket.send(answer(query, dns.zone), from.port, from.address));
  return dns;
}

function answer(query: Buffer, zone: DnsZone | undefined): Buffer {
  const labels: string[] = [];
  let at = 12;
  while (query[at] !== 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + query[at]!));
    at += 1 + query[at]!;
  }
  const name = labels.join('.').toLowerCase();
  const type = query.readUInt16BE(at + 1);
  const question = query.subarray(12, at + 5);
  const records = zone ? recordsOf(zone, name, type) : [];
  const exists =
    zone && [zone.a, zone.aaaa, zone.srv].some((names) => names !== undefined && Object.hasOwn(names, name));
  const NO_ERROR = 0;
  const SERVER_FAILURE = 2;
  const NO_SUCH_NAME = 3;
  const code = !zone ? SERVER_FAILURE : exists ? NO_ERROR : NO_SUCH_NAME;
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  head.writeUInt16BE(0x8180 | code, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(records.length, 6);
  const answers = records.map((data) => {
    const record = Buffer.alloc(12);
    record.writeUInt16BE(0xc00c, 0); // the name of the question
    record.writeUInt16BE(type, 2);
    record.writeUInt16BE(1, 4);
    record.writeUInt32BE(0, 6);
    record.writeUInt16BE(data.byteLength, 10);
    return Buffer.concat([record, data]);
  });
  return Buffer.concat([head, question, ...answers]);
}

function recordsOf(zone: DnsZone, name: string, type: number): Buffer[] {
  if (type === TYPES.a) return (zone.a?.[name] ?? []).map((text) => Buffer.from(text.split('.').map(Number)));
  if (type === TYPES.aaaa) return (zone.aaaa?.[name] ?? []).map(ipv6Bytes);
  if (type !== TYPES.srv) return [];
  return (zone.srv?.[name] ?? []).map((record) => {
    const fixed = Buffer.alloc(6);
    fixed.writeUInt16BE(record.priority, 0);
    fixed.writeUInt16BE(record.weight, 2);
    fixed.writeUInt16BE(record.port, 4);
    const labels = record.name
      .split('.')
      .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
    return Buffer.concat([fixed, ...labels, Buffer.from([0])]);
  });
}

function ipv6Bytes(text: string): Buffer {
  const [left = '', right = ''] = text.split('::');
  const groups = (part: string): number[] =>
    part
      .split(':')
      .filter(Boolean)
      .map((group) => Number.parseInt(group, 16));
  const [head, tail] = [groups(left), groups(right)];
  const all = [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 255]));
}
