import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseGatewayConfig } from './config.ts';
import { gatewayEnvironment } from './config-file.ts';
import { BEARER, eventually, NOBODY, sleep, startedForOneTest } from './testing.ts';

const { stopAll, upstream, gateway } = startedForOneTest();
afterEach(stopAll);

describe('reload', () => {
  test('other upstreams: connections and requests in hand notice nothing', async () => {
    const slow = await upstream(async (request, response) => {
      if (request.url === '/api/profiles/slow') await sleep(400);
      response.end('old');
    });
    const fresh = await upstream((_, response) => response.end('new'));
    const changes: Record<string, string> = {};
    const door = await gateway({ upstreams: { profile: slow.url }, changes });
    const text = async (path: string) => (await fetch(door.url + path, { headers: BEARER })).text();
    let running = true;
    const failures: string[] = [];
    const load = Array.from({ length: 8 }, async () => {
      while (running) {
        const reply = await fetch(`${door.url}/api/profiles/me`, { headers: BEARER }).catch((error) => error);
        if (!(reply instanceof Response) || reply.status !== 200)
          failures.push(String(reply?.status ?? reply));
        else await reply.text();
      }
    });
    expect(await text('/api/profiles/me')).toBe('old');
    const inHand = text('/api/profiles/slow');
    await eventually(() => slow.requests.some(({ url }) => url === '/api/profiles/slow'));
    changes.UPSTREAM_PROFILE = fresh.url;
    const reply = await fetch(`${door.internalUrl}/reload`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    expect(await reply.json()).toEqual({ changed: ['upstreams'], needsRestart: [] });
    expect(await text('/api/profiles/me')).toBe('new');
    expect(await inHand).toBe('old');
    const before = slow.requests.length;
    await sleep(100);
    expect(slow.requests.length).toBe(before);
    running = false;
    await Promise.all(load);
    expect(failures).toEqual([]);
  });

  test('origins, proxies, limits, what is told of clients: each at once', async () => {
    const service = await upstream((_, response) => response.end('{}'));
    const changes: Record<string, string> = {};
    const door = await gateway({ upstreams: { profile: service.url }, changes });
    const ask = (headers: Record<string, string> = {}) =>
      fetch(`${door.url}/api/profiles/me`, { headers: { ...BEARER, ...headers } });
    const origin = { origin: 'https://app.example' };
    const forwarded = { 'x-forwarded-for': '203.0.113.7' };
    const first = await ask({ ...origin, ...forwarded });
    expect(first.headers.get('access-control-allow-origin')).toBeNull();
    expect(first.headers.get('ratelimit-limit')).toBe('200000');
    expect(service.requests.at(-1)!.headers['x-forwarded-for']).toBe('127.0.0.1');

    Object.assign(changes, {
      CORS_ORIGINS: 'https://app.example',
      TRUSTED_PROXIES: '127.0.0.0/8',
      LYCEUM_LIMIT_SCALE: '2',
      FORWARDED_HEADERS: 'both',
      VIA: 'lyceum',
      ACCESS_LOG_SAMPLE: '0.5',
      SOCKETS_PER_ADDRESS: '7',
    });
    expect((await door.reload()).changed).toEqual([
      'corsOrigins',
      'trustedProxies',
      'forwardingHeaders',
      'limitScale',
      'socketsPerAddress',
      'accessLogSample',
    ]);
    const second = await ask({ ...origin, ...forwarded });
    expect(second.headers.get('access-control-allow-origin')).toBe('https://app.example');
    expect(second.headers.get('ratelimit-limit')).toBe('400');
    const seen = service.requests.at(-1)!.headers;
    expect(seen['x-forwarded-for']).toBe('203.0.113.7');
    expect(seen.forwarded).toContain('for=203.0.113.7');
    expect(seen.via).toBe('1.1 lyceum');

    for (const name of Object.keys(changes)) delete changes[name];
    await door.reload();
    expect((await ask(origin)).headers.get('access-control-allow-origin')).toBeNull();
    expect(service.requests.at(-1)!.headers.via).toBeUndefined();
  });

  test('what is wrong is refused as a whole, and says why', async () => {
    const service = await upstream((_, response) => response.end('old'));
    const changes: Record<string, string> = {};
    const door = await gateway({ upstreams: { profile: service.url }, changes });
    const reload = async () => {
      const reply = await fetch(`${door.internalUrl}/reload`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
      });
      return [reply.status, ((await reply.json()) as { detail: string }).detail];
    };
    Object.assign(changes, { CORS_ORIGINS: 'https://app.example', TRUSTED_PROXIES: 'everybody' });
    expect(await reload()).toEqual([400, expect.stringContaining('TRUSTED_PROXIES')]);
    // The last of several upstreams can not be found: the others stay too.
    Object.assign(changes, {
      TRUSTED_PROXIES: '',
      UPSTREAM_AUTH: NOBODY,
      UPSTREAM_PROFILE: 'dns+http://nobody.invalid:80',
    });
    expect(await reload()).toEqual([400, expect.stringContaining('nobody.invalid')]);
    const reply = await fetch(`${door.url}/api/profiles/me`, {
      headers: { ...BEARER, origin: 'https://app.example' },
    });
    expect([reply.status, await reply.text()]).toEqual([200, 'old']);
    expect(reply.headers.get('access-control-allow-origin')).toBeNull();
    // Put right, all of it is used.
    changes.UPSTREAM_PROFILE = service.url;
    expect((await door.reload()).changed).toEqual(['corsOrigins']);
  });

  test('what needs a restart is said and left as it is', async () => {
    const changes: Record<string, string> = {};
    const door = await gateway({ changes });
    Object.assign(changes, { PORT: '1', PUBLIC_URL: 'http://other.example', UPSTREAM_MAX_IN_FLIGHT: '7' });
    expect(await door.reload()).toEqual({
      changed: [],
      needsRestart: ['port', 'upstreamSettings', 'publicUrl'],
    });
    expect((await fetch(`${door.url}/healthz`)).status).toBe(200);
  });
});

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lyceum-config-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a gateway process', () => {
  test('reads its file again on SIGHUP, and goes on when it is wrong', async () => {
    const [old, fresh] = [
      await upstream((_, response) => response.end('old')),
      await upstream((_, response) => response.end('new')),
    ];
    const file = join(folder, 'live.conf');
    const write = (profile: string) => writeFileSync(file, `UPSTREAM_PROFILE=${profile}\n`);
    write(old.url);
    const log: string[] = [];
    const child = spawn(process.execPath, [join(import.meta.dir, 'main.ts')], {
      env: {
        ...process.env,
        ...Object.fromEntries(
          ['AUTH', 'CONTENT', 'CHAT', 'ANALYTICS', 'NOTIFICATIONS'].map((name) => [
            `UPSTREAM_${name}`,
            NOBODY,
          ]),
        ),
        ...{ HOST: '127.0.0.1', PORT: '0', INTERNAL_PORT: '0', PUBLIC_URL: 'http://school.example' },
        ...{
          REDIS_URL: 'redis://127.0.0.1:9',
          AUTH_URL: NOBODY,
          LOG_LEVEL: 'info',
          LYCEUM_GATEWAY_CONFIG: file,
        },
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.on('data', (piece: Buffer) => log.push(...piece.toString().split('\n')));
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
    try {
      const line = (words: string) => log.find((one) => one.includes(words));
      await eventually(() => line('gateway is up') !== undefined, 20_000);
      const { port } = JSON.parse(line('gateway is up')!) as { port: number };
      const text = async () => (await fetch(`http://127.0.0.1:${port}/api/profiles/avatars/1/small`)).text();
      expect(await text()).toBe('old');
      write(fresh.url);
      child.kill('SIGHUP');
      await eventually(async () => (await text()) === 'new');
      write('nonsense');
      child.kill('SIGHUP');
      await eventually(() => line('configuration was not changed') !== undefined);
      expect(line('configuration was not changed')).toContain('UPSTREAM_PROFILE');
      expect(await text()).toBe('new');
    } finally {
      child.kill('SIGTERM');
    }
    expect(await exited).toBe(0);
  }, 40_000);

  test('does not start on a wrong configuration, and says what is wrong with it', async () => {
    const child = spawn(process.execPath, [join(import.meta.dir, 'main.ts')], {
      env: { ...process.env, TRUSTED_PROXIES: 'everybody', UPSTREAM_AUTH: 'ftp://x', LOG_LEVEL: 'info' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let log = '';
    child.stderr.on('data', (piece: Buffer) => {
      log += piece.toString();
    });
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(1);
    for (const name of ['TRUSTED_PROXIES', 'UPSTREAM_AUTH', 'UPSTREAM_CHAT']) expect(log).toContain(name);
    expect(log).toContain('could not start');
  }, 40_000);
});

describe('the configuration file', () => {
  const read = (text: string, env: Record<string, string> = {}) => {
    const file = join(folder, 'gateway.conf');
    writeFileSync(file, text);
    return gatewayEnvironment({ ...env, LYCEUM_GATEWAY_CONFIG: file });
  };

  test('lines or JSON; it wins over the environment', () => {
    const lines = read(
      '# proxies\n\nTRUSTED_PROXIES=10.0.0.0/8\nexport VIA="lyceum"\nPUBLIC_URL = \'https://a.example\'\n',
      {
        VIA: 'other',
        PORT: '1',
      },
    );
    expect(lines).toMatchObject({
      TRUSTED_PROXIES: '10.0.0.0/8',
      VIA: 'lyceum',
      PUBLIC_URL: 'https://a.example',
      PORT: '1',
    });
    const json = read(
      '{"CORS_ORIGINS": ["https://a.example", "https://b.example"], "ACCESS_LOG_SAMPLE": 0.5}',
    );
    expect(json).toMatchObject({
      CORS_ORIGINS: 'https://a.example,https://b.example',
      ACCESS_LOG_SAMPLE: '0.5',
    });
    expect(gatewayEnvironment({ PORT: '2' })).toEqual({ PORT: '2' });
  });

  test('what is wrong with it is said', () => {
    expect(() => gatewayEnvironment({ LYCEUM_GATEWAY_CONFIG: join(folder, 'none') })).toThrow(
      'LYCEUM_GATEWAY_CONFIG: ',
    );
    expect(() => read('CORS_ORIGINS')).toThrow('line 1 is not NAME=value');
    expect(() => read('CORS_ORIGIN=x')).toThrow('CORS_ORIGIN: the gateway reads no such variable');
    expect(() => read('LYCEUM_GATEWAY_CONFIG=x')).toThrow('reads no such variable');
    expect(() => read('{"CORS_ORIGINS": ')).toThrow('gateway.conf: ');
    expect(() => read('{"CORS_ORIGINS": {"a": 1}}')).toThrow('must be a text, a number or a list of them');
  });

  test('TLS wants both files, an https address, and a redirect wants TLS', () => {
    const base = Object.fromEntries(
      ['AUTH', 'CONTENT', 'CHAT', 'PROFILE', 'ANALYTICS', 'NOTIFICATIONS'].map((name) => [
        `UPSTREAM_${name}`,
        NOBODY,
      ]),
    );
    const fault = (env: Record<string, string>) => {
      try {
        parseGatewayConfig({ ...base, ...env });
        return 'none';
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(fault({ TLS_CERT_FILE: 'a' })).toContain('TLS_CERT_FILE and TLS_KEY_FILE: set both, or neither');
    expect(fault({ REDIRECT_PORT: '80' })).toContain('REDIRECT_PORT: needs TLS_CERT_FILE');
    const files = { TLS_CERT_FILE: 'a', TLS_KEY_FILE: 'b' };
    expect(fault({ ...files, PUBLIC_URL: 'http://a.example' })).toContain('PUBLIC_URL: must be https');
    expect(fault({ ...files, REDIRECT_PORT: '80' })).toBe('none');
  });
});
