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

test('a client that never reads is cut off, and the others get everything', async () => {
  const mute = await joinAndStopReading();
  const reader = await client();
  let got = 0;
  reader.on('load', () => got++);
  const before = host.io.of('/').sockets.size;
  expect(before).toBe(2);
  // The kernel's own buffers take some megabytes before ours grow.
  let sent = 0;
  while (host.io.of('/').sockets.size === before && sent < 2_000) {
    host.io.emit('load', 'x'.repeat(50_000));
    sent++;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(host.io.of('/').sockets.size).toBe(1);
  for (const deadline = Date.now() + 5_000; got < sent && Date.now() < deadline; )
    await new Promise((r) => setTimeout(r, 20));
  expect(got).toBe(sent);
  mute.destroy();
  reader.disconnect();
}, 30_000);

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
