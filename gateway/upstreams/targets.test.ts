import { describe, expect, test } from 'bun:test';
import { SERVICES } from '../../shared/contracts/common.ts';
import { parseGatewayConfig } from '../config.ts';
import { DEFAULT_UPSTREAM_SETTINGS } from './settings.ts';
import { nameOf, parseTargets } from './targets.ts';

describe('targets', () => {
  test('addresses, names and service names', () => {
    expect(
      parseTargets('http://a:1, http://[::1]:2/ ,dns+http://pods:8080,srv+http://_http._tcp.chat,http://b'),
    ).toEqual([
      { kind: 'static', url: 'http://a:1', address: { hostname: 'a', port: 1, host: 'a:1' } },
      { kind: 'static', url: 'http://[::1]:2', address: { hostname: '::1', port: 2, host: '[::1]:2' } },
      { kind: 'dns', url: 'dns+http://pods:8080', name: 'pods', port: 8080, host: 'pods:8080' },
      { kind: 'srv', url: 'srv+http://_http._tcp.chat', name: '_http._tcp.chat' },
      { kind: 'static', url: 'http://b', address: { hostname: 'b', port: 80, host: 'b' } },
    ]);
    expect(parseTargets('http://a:1,http://a:1/')).toHaveLength(1);
    expect(nameOf({ hostname: '::1', port: 2, host: 'x' })).toBe('[::1]:2');
  });

  test.each([
    '',
    ' , ',
    'a:1',
    'https://a:1',
    'http://',
    'http://a:1/path',
    'http://a:1?x',
    'http://user:secret@a:1',
    'dns+https://a:1',
    'srv+http://_http._tcp.chat:8080',
    'http://a:1 http://b:2',
    'http://a:99999',
  ])('%p is none', (text) => {
    expect(() => parseTargets(text)).toThrow(/http:\/\/host:port, dns\+http/);
  });

  test('which one is wrong is said, without what it was', () => {
    expect(() => parseTargets('http://a:1,http://user:secret@b:2')).toThrow(/^entry 2 /);
    expect(() => parseTargets('http://a:1,http://user:secret@b:2')).not.toThrow(/secret/);
  });
});

describe('configuration of upstreams', () => {
  const env = Object.fromEntries(SERVICES.map((name) => [`UPSTREAM_${name.toUpperCase()}`, 'http://a:1']));

  test('has defaults, for all and for one', () => {
    const { upstreamSettings } = parseGatewayConfig(env);
    expect(upstreamSettings.chat).toEqual(DEFAULT_UPSTREAM_SETTINGS);
    const set = parseGatewayConfig({
      ...env,
      UPSTREAM_MAX_IN_FLIGHT: '100',
      UPSTREAM_CONTENT_MAX_IN_FLIGHT: '7',
      UPSTREAM_CHECK_MS: '0',
    }).upstreamSettings;
    expect([set.content.maxInFlight, set.chat.maxInFlight, set.chat.checkEveryMs]).toEqual([7, 100, 0]);
  });

  test('what is wrong is named', () => {
    const parse = () =>
      parseGatewayConfig({
        ...env,
        UPSTREAM_CHAT: 'http://a:1,chat',
        UPSTREAM_AUTH: '',
        UPSTREAM_CONTENT_MAX_IN_FLIGHT: '0',
        UPSTREAM_CHECK_MS: '5',
      });
    expect(parse).toThrow(/UPSTREAM_CHAT: entry 2/);
    expect(parse).toThrow(/UPSTREAM_AUTH/);
    expect(parse).toThrow(/UPSTREAM_CONTENT_MAX_IN_FLIGHT/);
    expect(parse).toThrow(/UPSTREAM_CHECK_MS: must be 0/);
  });
});
