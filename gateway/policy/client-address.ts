import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

export interface ClientOrigin {
  address: string;
  scheme: 'http' | 'https';
}

/**
 * Who is at the other end: the socket's address, or, if that is a trusted proxy, the last address in
 * X-Forwarded-For that is not one. What a client writes there itself never counts.
 */
export function createClientOrigin(trustedProxies: string[]): (request: IncomingMessage) => ClientOrigin {
  const trusted = new BlockList();
  for (const entry of trustedProxies) {
    const [address = '', bits] = entry.split('/');
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    trusted.addSubnet(address, bits === undefined ? (family === 'ipv4' ? 32 : 128) : Number(bits), family);
  }
  const isTrusted = (address: string): boolean =>
    isIP(address) > 0 && trusted.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');

  return (request) => {
    const peer = plain(request.socket.remoteAddress ?? '');
    if (trustedProxies.length === 0 || !isTrusted(peer)) return { address: peer, scheme: 'http' };
    const hops = String(request.headers['x-forwarded-for'] ?? '')
      .split(',')
      .map((hop) => plain(hop.trim()));
    const scheme = request.headers['x-forwarded-proto'] === 'https' ? 'https' : 'http';
    for (const hop of hops.reverse()) {
      if (isIP(hop) === 0) break;
      if (!isTrusted(hop)) return { address: hop, scheme };
    }
    return { address: peer, scheme };
  };
}

/** An IPv4 address in IPv6 clothes (RFC 4291, 2.5.5.2) is an IPv4 address. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '');

/** What limits count per address: one IPv4 address, or the /64 that an IPv6 subscriber has (RFC 6177). */
export function limitKeyOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = '', tail = ''] = address.split('%')[0]!.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === '' ? [] : tail.split(':');
  const gap = address.includes('::') ? 8 - left.length - right.length : 0;
  const groups = [...left, ...Array<string>(Math.max(0, gap)).fill('0'), ...right];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
