import { BlockList, isIP } from 'node:net';
import { networkOf } from '../../shared/auth/network.ts';
import { type Recent, RecentCache } from '../../shared/recent-cache.ts';
import type { SharedHeaderList } from '../http/headers.ts';

/** Who a request comes from, as far as it can be believed. */
export interface ClientOrigin {
  readonly address: string;
  /** How the client reached us, or the proxy in front of us. */
  readonly scheme: 'http' | 'https';
}

/** Addresses and X-Forwarded-For texts kept, those seen last. */
const CACHE_SIZE = 10_000;
/** Longer chains are not read: nobody has so many proxies. */
const LONGEST_CHAIN = 2_000;

interface Peer extends Recent {
  readonly origin: ClientOrigin;
  readonly isProxy: boolean;
}

interface Forwarded extends Recent {
  readonly address: string | undefined;
  readonly http: ClientOrigin;
  readonly https: ClientOrigin;
}

/**
 * Who is at the other end: the socket's address, or, if that is a trusted proxy, the last address in X-Forwarded-For
 * that is not one. What a client writes there itself never counts. An address that was seen before costs one look-up.
 */
export function createClientOrigin(
  trustedProxies: readonly string[],
  ownScheme: ClientOrigin['scheme'] = 'http',
): (peerAddress: string, headers: SharedHeaderList) => ClientOrigin {
  const trusted = new BlockList();
  for (const entry of trustedProxies) {
    const [address = '', bits] = entry.split('/');
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    trusted.addSubnet(address, bits === undefined ? (family === 'ipv4' ? 32 : 128) : Number(bits), family);
  }
  const isTrusted = (address: string): boolean =>
    trusted.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
  const peers = new RecentCache<Peer>(CACHE_SIZE);
  const chains = new RecentCache<Forwarded>(CACHE_SIZE);

  function lookAtPeer(text: string): Peer {
    const address = addressIn(text) ?? text;
    const isProxy = trustedProxies.length > 0 && isIP(address) > 0 && isTrusted(address);
    const peer = { origin: { address, scheme: ownScheme }, isProxy, used: false };
    peers.set(text, peer);
    return peer;
  }

  /** The nearest address in the chain that is not a proxy of ours; undefined if there is none to be believed. */
  function lastStranger(chain: string): string | undefined {
    if (chain.length > LONGEST_CHAIN) return undefined;
    for (const hop of chain.split(',').reverse()) {
      const address = addressIn(hop.trim());
      if (address === undefined) return undefined;
      if (!isTrusted(address)) return address;
    }
    return undefined;
  }

  function lookAtChain(chain: string): Forwarded {
    const address = lastStranger(chain);
    const known: Forwarded = {
      address,
      http: { address: address ?? '', scheme: 'http' },
      https: { address: address ?? '', scheme: 'https' },
      used: false,
    };
    chains.set(chain, known);
    return known;
  }

  return (peerAddress, headers) => {
    const peer = peers.get(peerAddress) ?? lookAtPeer(peerAddress);
    if (!peer.isProxy) return peer.origin;
    const chain = lineOf(headers, 'x-forwarded-for');
    const scheme = lineOf(headers, 'x-forwarded-proto') === 'https' ? 'https' : 'http';
    const forwarded = chain === undefined ? undefined : (chains.get(chain) ?? lookAtChain(chain));
    if (forwarded?.address === undefined) return { address: peer.origin.address, scheme };
    return forwarded[scheme];
  };
}

/** All lines of a name as one (RFC 9110, 5.2): a proxy may have added its own below what the client sent. */
function lineOf(headers: SharedHeaderList, name: string): string | undefined {
  let value: string | undefined;
  for (let index = 0; index < headers.length; index += 2) {
    if (headers[index] !== name) continue;
    const line = headers[index + 1]!;
    value = value === undefined ? line : `${value}, ${line}`;
  }
  return value;
}

/**
 * The address in a hop of X-Forwarded-For, some of which come with a port. An IPv4 address in IPv6 clothes (RFC 4291,
 * 2.5.5.2) is an IPv4 address. Undefined: there is none.
 */
function addressIn(hop: string): string | undefined {
  const bare = hop.startsWith('[')
    ? hop.slice(1, hop.indexOf(']'))
    : hop.includes('.')
      ? hop.replace(/(\.\d+):\d+$/, '$1')
      : hop;
  const plain = bare.replace(/^::ffff:(?=\d+\.)/i, '');
  return isIP(plain) > 0 ? plain : undefined;
}

interface Network extends Recent {
  readonly key: string;
}
const networks = new RecentCache<Network>(CACHE_SIZE);

/** What limits count per address: see `networkOf`. */
export function limitKeyOf(address: string): string {
  // Without a colon it is an IPv4 address, which counts as it is.
  if (!address.includes(':')) return address;
  const known = networks.get(address);
  if (known !== undefined) return known.key;
  const key = networkOf(address);
  networks.set(address, { key, used: false });
  return key;
}
