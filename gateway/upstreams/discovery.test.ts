import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { eventually } from '../testing.ts';
import type { UpstreamPool } from './pool.ts';
import { systemResolver } from './resolve.ts';
import { parseTargets } from './targets.ts';
import {
  countChoices,
  type DnsZone,
  type FakeConnections,
  startDns,
  type TestDns,
  testPool,
} from './testing.ts';

/** Names that are looked up at a real DNS server, which the test changes. */

let dns: TestDns;
let pool: UpstreamPool<FakeConnections> | undefined;
beforeEach(async () => {
  dns = await startDns({});
});
afterEach(() => {
  pool?.stop();
  pool = undefined;
  dns.stop();
});

async function start(list: string, zone: DnsZone): Promise<UpstreamPool<FakeConnections>> {
  dns.zone = zone;
  pool = testPool(list, { resolveEveryMs: 30, checkEveryMs: 0 }, { resolver: systemResolver([dns.server]) });
  await pool.start();
  return pool;
}
const names = (): string[] => pool!.replicas.map(({ name }) => name).sort();

describe('names', () => {
  test('every A record is a replica, and the Host header says the name', async () => {
    await start('dns+http://pods.test:8080', { a: { 'pods.test': ['10.0.0.1', '10.0.0.2'] } });
    expect(names()).toEqual(['10.0.0.1:8080', '10.0.0.2:8080']);
    expect(pool!.replicas[0]!.address.host).toBe('pods.test:8080');
    expect(pool!.replicas[0]!.share(performance.now())).toBe(1);
  });

  test('AAAA where there is no A; with both it is the same machines', async () => {
    await start('dns+http://six.test:80,dns+http://both.test:80', {
      a: { 'both.test': ['10.0.0.1'] },
      aaaa: { 'six.test': ['fd00::1'], 'both.test': ['fd00::9'] },
    });
    expect(names()).toEqual(['10.0.0.1:80', '[fd00::1]:80']);
    expect(pool!.replicas.map(({ address }) => address.hostname).sort()).toEqual(['10.0.0.1', 'fd00::1']);
  });

  test('replicas come and go with the records', async () => {
    await start('dns+http://pods.test:80', { a: { 'pods.test': ['10.0.0.1', '10.0.0.2'] } });
    const stays = pool!.replicas.find(({ name }) => name === '10.0.0.2:80')!;
    const goes = pool!.replicas.find(({ name }) => name === '10.0.0.1:80')!;
    const ticket = goes.begin();
    dns.zone = { a: { 'pods.test': ['10.0.0.2', '10.0.0.3'] } };
    await eventually(() => names().includes('10.0.0.3:80'));
    expect(names()).toEqual(['10.0.0.2:80', '10.0.0.3:80']);
    expect(pool!.replicas).toContain(stays);
    expect(stays.connections.closed).toBe('no');
    expect(goes.connections.closed).toBe('gracefully');
    expect(countChoices(pool!, 100)).not.toHaveProperty('10.0.0.1:80');
    expect(pool!.state().replicas.find(({ name }) => name === goes.name)).toMatchObject({
      draining: true,
      inFlight: 1,
    });
    goes.end(ticket, 'ok');
  });

  test('what is known is used on while DNS fails, or knows nothing, and the reason is told', async () => {
    await start('dns+http://pods.test:80', { a: { 'pods.test': ['10.0.0.1'] } });
    expect(pool!.state().resolveError).toBeUndefined();
    for (const zone of [undefined, {}, { a: { 'pods.test': [] } }]) {
      dns.zone = zone;
      await eventually(() => pool!.state().resolveError !== undefined);
      expect(pool!.state().resolveError).toContain('dns+http://pods.test: ');
      expect(names()).toEqual(['10.0.0.1:80']);
      dns.zone = { a: { 'pods.test': ['10.0.0.1'] } };
      await eventually(() => pool!.state().resolveError === undefined);
    }
  });

  test('a name that is not there yet is looked for until it is', async () => {
    await start('dns+http://late.test:80', {});
    expect(pool!.choose()).toBeUndefined();
    dns.zone = { a: { 'late.test': ['10.0.0.1'] } };
    await eventually(() => pool!.choose() !== undefined);
  });

  test('the hosts file is asked for what DNS does not know', async () => {
    await start('dns+http://localhost:80', {});
    expect(['127.0.0.1:80', '[::1]:80']).toContain(names()[0]!);
  });

  test('an address is its own answer', async () => {
    await start('dns+http://127.0.0.1:80', {});
    expect(names()).toEqual(['127.0.0.1:80']);
  });

  test('names and addresses together, each once', async () => {
    await start('http://10.0.0.1:80,dns+http://pods.test:80', {
      a: { 'pods.test': ['10.0.0.1', '10.0.0.2'] },
    });
    expect(names()).toEqual(['10.0.0.1:80', '10.0.0.2:80']);
  });
});

describe('service records', () => {
  const service = '_http._tcp.chat.test';
  const record = (name: string, priority: number, weight: number, port = 80) => ({
    name,
    priority,
    weight,
    port,
  });

  test('ports, weights, and priorities until those before are gone', async () => {
    await start(`srv+http://${service}`, {
      srv: {
        [service]: [
          record('big.test', 0, 30, 8_001),
          record('small.test', 0, 10, 8_002),
          record('spare.test', 1, 100, 8_003),
        ],
      },
      a: { 'big.test': ['10.0.0.1'], 'small.test': ['10.0.0.2'], 'spare.test': ['10.0.0.3'] },
    });
    expect(names()).toEqual(['10.0.0.1:8001', '10.0.0.2:8002', '10.0.0.3:8003']);
    expect(pool!.replicas.find(({ name }) => name === '10.0.0.1:8001')!.address.host).toBe('big.test:8001');
    const counts = countChoices(pool!, 4_000);
    expect(counts).not.toHaveProperty('10.0.0.3:8003');
    expect(counts['10.0.0.1:8001']! / counts['10.0.0.2:8002']!).toBeGreaterThan(2.5);
    expect(counts['10.0.0.1:8001']! / counts['10.0.0.2:8002']!).toBeLessThan(3.5);

    for (const replica of pool!.replicas.filter(({ priority }) => priority === 0)) {
      for (let turn = 0; turn < 5; turn++) replica.end(replica.begin(), 'timeout');
    }
    expect(countChoices(pool!, 100)).toEqual({ '10.0.0.3:8003': 100 });
  });

  test('under load each has its share in flight', async () => {
    await start(`srv+http://${service}`, {
      srv: { [service]: [record('big.test', 0, 30), record('small.test', 0, 10)] },
      a: { 'big.test': ['10.0.0.1'], 'small.test': ['10.0.0.2'] },
    });
    for (let turn = 0; turn < 400; turn++) pool!.choose()!.begin();
    const [big, small] = ['10.0.0.1:80', '10.0.0.2:80'].map(
      (name) => pool!.replicas.find((replica) => replica.name === name)!.inFlight,
    );
    expect(big).toBeGreaterThan(280);
    expect(small).toBeGreaterThan(80);
  });

  test('a record whose name has no address is left out', async () => {
    await start(`srv+http://${service}`, {
      srv: { [service]: [record('here.test', 0, 1), record('gone.test', 0, 1)] },
      a: { 'here.test': ['10.0.0.1'] },
    });
    expect(names()).toEqual(['10.0.0.1:80']);
  });
});

describe('reload', () => {
  test('to names: the old ones serve until the new ones are known', async () => {
    await start('http://10.0.0.1:80', { a: { 'pods.test': ['10.0.0.2'] } });
    const reloaded = pool!.reload(parseTargets('dns+http://pods.test:80'));
    expect(names()).toEqual(['10.0.0.1:80']);
    await reloaded;
    expect(names()).toEqual(['10.0.0.2:80']);
    dns.zone = { a: { 'pods.test': ['10.0.0.3'] } };
    await eventually(() => names().join() === '10.0.0.3:80');
  });

  test('to what stands for nothing is refused, and all stays as it was', async () => {
    await start('dns+http://pods.test:80', { a: { 'pods.test': ['10.0.0.1'] } });
    await expect(pool!.reload(parseTargets('dns+http://typo.test:80'))).rejects.toThrow(/typo\.test/);
    expect(names()).toEqual(['10.0.0.1:80']);
    dns.zone = { a: { 'pods.test': ['10.0.0.9'] } };
    await eventually(() => names().join() === '10.0.0.9:80');
  });
});
