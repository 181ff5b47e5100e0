import { describe, expect, test } from 'bun:test';
import { createClientOrigin, limitKeyOf } from './client-address.ts';

const PROXIES = ['10.0.0.0/8', '192.0.2.1', '2001:db8:ffff::/48'];
const originBehind = createClientOrigin(PROXIES);
const forwarded = (chain: string, proto?: string) => [
  'x-forwarded-for',
  chain,
  ...(proto === undefined ? [] : ['x-forwarded-proto', proto]),
];
const addressOf = (peer: string, ...chains: string[]): string =>
  originBehind(
    peer,
    chains.flatMap((chain) => forwarded(chain)),
  ).address;

describe('the address of a client', () => {
  test('is the socket’s, whatever it says about itself', () => {
    const direct = createClientOrigin([]);
    expect(direct('203.0.113.1', forwarded('6.6.6.6', 'https'))).toEqual({
      address: '203.0.113.1',
      scheme: 'http',
    });
    expect(addressOf('203.0.113.1', '6.6.6.6')).toBe('203.0.113.1');
    expect(addressOf('::ffff:203.0.113.1', '6.6.6.6')).toBe('203.0.113.1');
    // Of the same peer it is the same object: nothing is worked out again.
    expect(direct('203.0.113.1', [])).toBe(direct('203.0.113.1', forwarded('6.6.6.6')));
  });

  test('is the nearest stranger that a trusted proxy names', () => {
    expect(addressOf('10.1.2.3', '203.0.113.7')).toBe('203.0.113.7');
    expect(addressOf('::ffff:10.1.2.3', '203.0.113.7')).toBe('203.0.113.7');
    expect(addressOf('192.0.2.1', '6.6.6.6, 203.0.113.7, 10.9.9.9')).toBe('203.0.113.7');
    expect(addressOf('2001:db8:ffff::1', '2001:db8:1::5')).toBe('2001:db8:1::5');
    expect(addressOf('10.1.2.3', '::ffff:203.0.113.7')).toBe('203.0.113.7');
    expect(originBehind('10.1.2.3', forwarded('203.0.113.7', 'https')).scheme).toBe('https');
    expect(originBehind('10.1.2.3', forwarded('203.0.113.7', 'http')).scheme).toBe('http');
  });

  test('is not what a client put above the proxy’s own line', () => {
    expect(addressOf('10.1.2.3', '6.6.6.6', '203.0.113.7')).toBe('203.0.113.7');
    expect(addressOf('10.1.2.3', '203.0.113.7', '10.5.5.5')).toBe('203.0.113.7');
  });

  test('may come with a port', () => {
    expect(addressOf('10.1.2.3', '203.0.113.7:4711')).toBe('203.0.113.7');
    expect(addressOf('10.1.2.3', '[2001:db8:1::5]:443')).toBe('2001:db8:1::5');
    expect(addressOf('10.1.2.3', '[2001:db8:1::5]')).toBe('2001:db8:1::5');
  });

  test.each(['', ' ', 'unknown', '_hidden', '203.0.113.7, nonsense', '1.2.3', '[', '203.0.113.7,'])(
    'is the proxy’s where the chain says nothing that can be believed: %j',
    (chain) => {
      expect(addressOf('10.1.2.3', chain)).toBe('10.1.2.3');
    },
  );

  test('is not looked for in a chain that no real proxies make', () => {
    expect(addressOf('10.1.2.3', `${'10.0.0.1, '.repeat(300)}203.0.113.7`)).toBe('10.1.2.3');
  });

  test('is the proxy’s where all are proxies, and where it names nobody', () => {
    expect(addressOf('10.1.2.3', '10.0.0.1, 192.0.2.1')).toBe('10.1.2.3');
    expect(addressOf('10.1.2.3')).toBe('10.1.2.3');
  });

  test('is right for more clients than are remembered', () => {
    for (const round of [1, 2]) {
      for (let i = 0; i < 12_000; i++) {
        const client = `172.${round}.${i >> 8}.${i & 255}`;
        if (addressOf('10.1.2.3', client) !== client) throw new Error(client);
        if (addressOf(client) !== client) throw new Error(client);
      }
    }
  });

  test('over TLS of our own the scheme is https', () => {
    expect(createClientOrigin([], 'https')('203.0.113.1', []).scheme).toBe('https');
  });
});

test.each([
  ['203.0.113.7', '203.0.113.7'],
  ['2001:db8:0:1:2:3:4:5', '2001:db8:0:1::/64'],
  ['2001:db8:0:1::5', '2001:db8:0:1::/64'],
  ['2001:0DB8:0000:0001::', '2001:db8:0:1::/64'],
  ['2001:db8::5', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['::', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('%s counts as %s', (address, key) => {
  for (const _ of [1, 2]) expect(limitKeyOf(address)).toBe(key);
});
