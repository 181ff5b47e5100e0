import { afterAll, describe, expect, test } from 'bun:test';
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { io } from 'socket.io-client';
import { realServer } from '../../testing/servers.ts';
import { tcpProxy } from '../../testing/tcp-proxy.ts';
import { openRedisSocketAdapter } from './redis.ts';

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const log = { warn: () => {} };

const redis = await realServer('redis');
describe.skipIf(redis === undefined).each([
  ['plain', false],
  ['sharded', true],
])('Socket.IO over %s pub/sub of Redis (skipped without the real server)', (_name, sharded) => {
  const ends: (() => unknown)[] = [];
  afterAll(async () => {
    for (const end of ends.reverse()) await end();
  });

  const node = async (namespace: string, url: string) => {
    const http = createServer();
    const server = new Server(http, { transports: ['websocket'] });
    const adapter = openRedisSocketAdapter({ url, log, sharded });
    adapter.attach(server);
    server.of(namespace).on('connection', (socket) => void socket.join('room'));
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const client = io(`http://127.0.0.1:${(http.address() as { port: number }).port}${namespace}`, {
      transports: ['websocket'],
    });
    const heard: string[] = [];
    client.on('message', (text: string) => heard.push(text));
    await new Promise<void>((resolve) => client.once('connect', resolve));
    ends.push(
      () => adapter.close(),
      () => server.close(),
      () => client.close(),
    );
    return { namespace: server.of(namespace), adapter, heard };
  };

  test('a room spans processes, and does again after its connections were cut', async () => {
    const namespace = `/${crypto.randomUUID()}`;
    const way = await tcpProxy(redis!.url);
    ends.push(way.close);
    const [one, two] = [await node(namespace, way.url), await node(namespace, way.url)];
    await sleep(100);
    await one.adapter.ready();
    one.namespace.to('room').emit('message', 'first');
    await sleep(100);
    expect([one.heard, two.heard]).toEqual([['first'], ['first']]);

    way.cut();
    one.namespace.to('room').emit('message', 'meanwhile');
    await sleep(1_000);
    two.namespace.to('room').emit('message', 'second');
    await sleep(100);
    expect(one.heard).toEqual(['first', 'meanwhile', 'second']);
    expect(two.heard.at(-1)).toBe('second');
  });

  test('sockets of other processes leave rooms and are disconnected', async () => {
    const namespace = `/${crypto.randomUUID()}`;
    const [one, two] = [await node(namespace, redis!.url), await node(namespace, redis!.url)];
    await sleep(100);
    one.namespace.in('room').socketsLeave('room');
    await sleep(100);
    one.namespace.to('room').emit('message', 'nobody');
    one.namespace.disconnectSockets(true);
    await sleep(200);
    expect([one.heard, two.heard]).toEqual([[], []]);
    expect([one.namespace.sockets.size, two.namespace.sockets.size]).toEqual([0, 0]);
  });
});

test('without Redis, broadcasts reach the own sockets and nothing throws', async () => {
  const adapter = openRedisSocketAdapter({ url: 'redis://127.0.0.1:1', log });
  const server = new Server(createServer());
  adapter.attach(server);
  server.to('room').emit('message', 'x');
  await expect(adapter.ready()).rejects.toMatchObject({ code: 'upstream-unavailable' });
  await sleep(300);
  await adapter.close();
  await server.close();
});
