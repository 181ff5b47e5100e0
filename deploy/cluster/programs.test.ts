import { expect, test } from 'bun:test';
import { SERVICES } from '../../shared/contracts/common.ts';
import type { Servers } from '../servers/servers.ts';
import { parseClusterOptions } from './options.ts';
import { layOut } from './programs.ts';

test('the first gateway has the internal port that was asked for, each further one its own; all know every auth', () => {
  const server = { url: 'x://127.0.0.1', accessKey: 'a', secretKey: 's', httpUrl: 'http://127.0.0.1' };
  const programs = layOut({
    options: parseClusterOptions(['--gateway', '2', '--auth', '2']),
    servers: {
      postgres: server,
      redis: server,
      rabbitmq: server,
      s3: server,
      smtp: server,
    } as unknown as Servers,
    databaseUrls: Object.fromEntries(SERVICES.map((name) => [name, 'x'])) as never,
    publicUrl: 'http://localhost:8080',
    publicPort: 8080,
    host: '127.0.0.1',
    internalPort: 8081,
    ports: [1, 2, 3, 4, 5, 6, 7, 8, 9],
    passOn: {},
  });
  const gateways = programs.filter(({ name }) => name === 'gateway');
  expect(gateways.map(({ port, env }) => [port, env.INTERNAL_PORT])).toEqual([
    [8080, '8081'],
    [8080, '8'],
  ]);
  // No process depends on one replica of auth.
  expect(new Set(programs.map(({ env }) => env.AUTH_URL))).toEqual(
    new Set(['http://127.0.0.1:1,http://127.0.0.1:2']),
  );
});
