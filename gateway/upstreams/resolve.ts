import { lookup, Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { nameOf, type UpstreamAddress, type UpstreamTarget } from './targets.ts';

/** An address that a target stands for. Lower priority first; a larger weight gets more. */
export interface ResolvedAddress {
  address: UpstreamAddress;
  priority: number;
  weight: number;
}

export interface ServiceRecord {
  name: string;
  port: number;
  priority: number;
  weight: number;
}

/** Looks names up. Rejects when there is no answer, and when there is no such name. */
export interface NameResolver {
  addresses(name: string): Promise<string[]>;
  services(name: string): Promise<ServiceRecord[]>;
}

/**
 * Asks DNS, and the system's own lookup (hosts file, search domains) for what DNS does not know. A name with addresses
 * of both families stands for the same machines twice: IPv4 is taken then. `servers` as `address:port`.
 */
export function systemResolver(servers?: string[]): NameResolver {
  // A new one each time: the resolver's own cache keeps an empty answer for up to an hour (measured with Bun 1.4.5).
  const newResolver = (): Resolver => {
    const resolver = new Resolver();
    if (servers) resolver.setServers(servers);
    return resolver;
  };
  return {
    async addresses(name) {
      if (isIP(name)) return [name];
      const resolver = newResolver();
      const failure = (error: unknown): Error => error as Error;
      const four = await resolver.resolve4(name).catch(failure);
      if (Array.isArray(four) && four.length > 0) return four;
      const six = await resolver.resolve6(name).catch(failure);
      if (Array.isArray(six) && six.length > 0) return six;
      const found = await lookup(name, { all: true });
      const family = found.some((entry) => entry.family === 4) ? 4 : 6;
      return found.filter((entry) => entry.family === family).map(({ address }) => address);
    },
    services: (name) => newResolver().resolveSrv(name),
  };
}

/** What a target stands for now. Rejects when it can't be told; never resolves to nothing. */
export async function resolveTarget(
  target: UpstreamTarget,
  resolver: NameResolver,
): Promise<ResolvedAddress[]> {
  const found = await addressesOf(target, resolver);
  if (found.length === 0) throw new Error('no addresses');
  const unique = new Map(found.map((entry) => [nameOf(entry.address), entry]));
  return [...unique.values()];
}

async function addressesOf(target: UpstreamTarget, resolver: NameResolver): Promise<ResolvedAddress[]> {
  if (target.kind === 'static') return [{ address: target.address, priority: 0, weight: 1 }];
  if (target.kind === 'dns') {
    const { port, host } = target;
    const addresses = await resolver.addresses(target.name);
    return addresses.map((hostname) => ({ address: { hostname, port, host }, priority: 0, weight: 1 }));
  }
  const records = await resolver.services(target.name);
  const known = await Promise.allSettled(records.map(({ name }) => resolver.addresses(name)));
  return records.flatMap(({ name, port, priority, weight }, index) => {
    const result = known[index]!;
    const addresses = result.status === 'fulfilled' ? result.value : [];
    // A record's weight is that of all its addresses together; 0 means "hardly ever" (RFC 2782), not never.
    const each = Math.max(weight, 0.5) / Math.max(1, addresses.length);
    return addresses.map((hostname) => ({
      address: { hostname, port, host: `${name}:${port}` },
      priority,
      weight: each,
    }));
  });
}
