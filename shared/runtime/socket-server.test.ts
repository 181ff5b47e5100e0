import { afterAll, beforeAll, expect, test } from 'bun:test';
import { connect as connectTcp, type Socket as TcpSocket } from 'node:net';
import { io as connectClient, type Socket } from 'socket.io-client';
import type { HttpServer } from './serve.ts';
import { createSocketHost, SOCKET_LIMITS } from './socket-server.ts';

const host = createSocketHost('room:', { ...SOCKET_LIMITS, maxBufferedBytes: 256 * 1024 });
let server: HttpServer;
let url: string;

beforeAll(async () => {
  host.io.on('connection', (socket) => {
    socket.on('echo', (value: unknown, ack: (value: unknown) => void) => ack(value));
  });
  server = await host.listen({
    hostname: '127.0.0.1',
    port: 0,
    fetch: async (request) => new Response(`${request.method} ${(await request.arrayBuffer()).byteLength}`),
  });
  url = `http://127.0.0.1:${server.port}`;
});
afterAll(() => server.stop(1_000));

const client = (): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connectClient(url, { transports: ['websocket'], forceNew: true, reconnection: false });
    socket.on('connect', () => resolve(socket));
    socket.on('connect_error', reject);
  });

test('one port has HTTP, large bodies too, and sockets', async () => {
  const reply = await fetch(`${url}/anything`, { method: 'POST', body: new Uint8Array(3_000_000) });
  expect(await reply.text()).toBe('POST 3000000');
  const socket = await client();
  expect(await socket.timeout(5_000).emitWithAck('echo', { text: '👩‍🏫' })).toEqual({ text: '👩‍🏫' });
  socket.disconnect();
});

test('long polling is refused in words', async () => {
  const reply = await fetch(`${url}/socket.io/?EIO=4&transport=polling`);
  expect(reply.status).toBe(400);
  expect(((await reply.json()) as { detail: string }).detail).toContain('WebSocket');
});

test('a frame over the limit closes its connection only', async () => {
  const [large, other] = [await client(), await client()];
  const closed = new Promise((resolve) => large.once('disconnect', resolve));
  large.emit('echo', 'x'.repeat(SOCKET_LIMITS.maxFrameBytes + 1), () => {});
  await closed;
  expect(await other.timeout(5_000).emitWithAck('echo', 1)).toBe(1);
  other.disconnect();
});

test('broadcasts and emits arrive in the order of sending, large ones too', async () => {
  const socket = await client();
  const got: unknown[] = [];
  socket.on('order', (index: number) => got.push(index));
  await host.io.in(socket.id!).socketsJoin('room:order');
  for (let index = 0; index < 300; index++) {
    const packet = JSON.stringify(['order', index, 'x'.repeat(index % 7 === 0 ? 40_000 : 50)]);
    if (index % 3 === 0) host.io.to('room:order').emit('order', index);
    else if (index % 3 === 1) host.broadcast('room:order', [`2${packet}`]);
    else host.io.to(socket.id!).emit('order', index);
    if (index % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  for (const deadline = Date.now() + 5_000; got.length < 300 && Date.now() < deadline; )
    await new Promise((resolve) => setTimeout(resolve, 10));
  expect(got).toEqual(Array.from({ length: 300 }, (_, index) => index));
  await host.io.in(socket.id!).socketsLeave('room:order');
  host.broadcast('room:order', [`2${JSON.stringify(['order', 'after leaving'])}`]);
  await socket.timeout(5_000).emitWithAck('echo', 1);
  expect(got).toHaveLength(300);
  socket.disconnect();
});

for (const way of ['emit', 'broadcast'] as const) {
  test(`a client that never reads is cut off (${way}), and the others get everything`, async () => {
    const mute = await joinAndStopReading();
    const reader = await client();
    let got = 0;
    reader.on('load', () => got++);
    await host.io.socketsJoin('room:load');
    const before = host.io.of('/').sockets.size;
    expect(before).toBe(2);
    const reasons: string[] = [];
    for (const socket of host.io.of('/').sockets.values())
      socket.on('disconnect', (reason) => reasons.push(reason));
    const load = 'x'.repeat(50_000);
    // The kernel's own buffers take some megabytes before ours grow.
    let sent = 0;
    while (host.io.of('/').sockets.size === before && sent < 2_000) {
      if (way === 'emit') host.io.emit('load', load);
      else host.broadcast('room:load', [`2${JSON.stringify(['load', load])}`]);
      sent++;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(host.io.of('/').sockets.size).toBe(1);
    expect(reasons).toEqual(['slow consumer']);
    for (const deadline = Date.now() + 5_000; got < sent && Date.now() < deadline; )
      await new Promise((r) => setTimeout(r, 20));
    expect(got).toBe(sent);
    // It reads again, in time to learn why.
    const frames: Buffer[] = [];
    mute.on('data', (chunk: Buffer) => frames.push(chunk));
    const ended = new Promise((resolve) => mute.once('close', resolve));
    mute.resume();
    await ended;
    // RFC 6455, 5.5.1: a close frame, its code first.
    const last = Buffer.concat(frames).subarray(-2 - 2 - 'slow consumer'.length);
    expect([last[0], last.readUInt16BE(2), last.subarray(4).toString()]).toEqual([
      0x88,
      4008,
      'slow consumer',
    ]);
    reader.disconnect();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }, 30_000);
}

test.each([
  ['an older revision of the protocol', 'EIO=3&transport=websocket', 5],
  ['a session of another process', 'EIO=4&transport=websocket&sid=abc', 1],
])('%s is refused with its code', async (_what, query, code) => {
  const reply = await fetch(`${url}/socket.io/?${query}`, {
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': Buffer.from('0123456789abcdef').toString('base64'),
    },
  });
  expect([reply.status, await reply.json()]).toMatchObject([400, { code }]);
});

test('a client that answers no ping is closed, and one that does stays', async () => {
  const own = createSocketHost('room:', { ...SOCKET_LIMITS, pingIntervalMs: 600, pingTimeoutMs: 600 });
  const running = await own.listen({ hostname: '127.0.0.1', port: 0, fetch: () => new Response('ok') });
  const good = connectClient(`http://127.0.0.1:${running.port}`, {
    transports: ['websocket'],
    forceNew: true,
  });
  await new Promise<void>((resolve) => good.on('connect', () => resolve()));
  const silent = new WebSocket(`ws://127.0.0.1:${running.port}/socket.io/?EIO=4&transport=websocket`);
  const closed = new Promise((resolve) => {
    silent.onclose = resolve;
  });
  silent.onopen = () => silent.send('40');
  await closed;
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect(good.connected).toBe(true);
  expect(own.io.of('/').sockets.size).toBe(1);
  good.disconnect();
  await running.stop(1_000);
});

test('stopping closes sockets so that clients know, and ends within its grace', async () => {
  const own = createSocketHost('room:');
  const running = await own.listen({ hostname: '127.0.0.1', port: 0, fetch: () => new Response('ok') });
  const socket = connectClient(`http://127.0.0.1:${running.port}`, {
    transports: ['websocket'],
    forceNew: true,
    reconnection: false,
  });
  await new Promise<void>((resolve) => socket.on('connect', () => resolve()));
  const gone = new Promise((resolve) => socket.once('disconnect', resolve));
  const started = performance.now();
  await running.stop(2_000);
  // A transport that closes makes clients reconnect, to another replica.
  expect(await gone).toBe('transport close');
  expect(performance.now() - started).toBeLessThan(2_500);
});

/** A client made by hand: it upgrades, joins the main namespace and reads no more. */
async function joinAndStopReading(): Promise<TcpSocket> {
  const tcp = connectTcp(server.port, '127.0.0.1');
  tcp.on('error', () => {});
  await new Promise<void>((resolve) => tcp.once('connect', () => resolve()));
  const key = Buffer.from('0123456789abcdef').toString('base64');
  tcp.write(
    `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  await new Promise<void>((resolve) => tcp.once('data', () => resolve()));
  // RFC 6455, 5.2: final text frame, masked with zeros, two bytes of text.
  tcp.write(Buffer.concat([Buffer.from([0x81, 0x82, 0, 0, 0, 0]), Buffer.from('40')]));
  await new Promise((resolve) => setTimeout(resolve, 200));
  tcp.pause();
  return tcp;
}
