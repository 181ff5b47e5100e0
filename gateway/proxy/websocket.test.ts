import { afterEach, describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { eventually, NOBODY, sendRaw, sleep, startGateway, startUpstream } from '../testing.ts';
import { closeFrame, FrameFollower } from './frames.ts';

const MiB = 1024 ** 2;
const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const handshake = (extra = '', path = '/socket.io/?EIO=4&transport=websocket'): string =>
  `GET ${path} HTTP/1.1\r\nHost: school.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n${extra}\r\n`;

/** A chat of Bun's own WebSocket server: echoes, and does as it is told. */
async function startChat(onOpen?: (socket: Bun.ServerWebSocket<undefined>) => void) {
  const closes: [number, string][] = [];
  const seen: { headers: Record<string, string> }[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch(request, self) {
      if (!request.headers.get('upgrade')) return new Response('', { status: 404 });
      seen.push({ headers: Object.fromEntries(request.headers) });
      const protocol = request.headers.get('sec-websocket-protocol')?.split(', ')[0];
      const headers: Record<string, string> = protocol ? { 'sec-websocket-protocol': protocol } : {};
      return self.upgrade(request, { data: undefined, headers })
        ? undefined
        : new Response('', { status: 400 });
    },
    websocket: {
      maxPayloadLength: 64 * MiB,
      open: (socket) => onOpen?.(socket),
      message(socket, message) {
        if (message === 'close me') socket.close(4321, 'as you wish');
        else socket.send(message);
      },
      close: (_, code, reason) => void closes.push([code, reason]),
    },
  });
  stops.push(() => server.stop(true));
  return { url: `http://127.0.0.1:${server.port}`, server, closes, seen };
}

/** A chat that answers each handshake with these bytes, or with nothing. */
async function startRefusing(reply: string | undefined) {
  const chat = await startUpstream((_, response) => void response.end());
  stops.push(chat.stop);
  const seen = { handshakes: 0 };
  chat.server.on('upgrade', (_, socket) => {
    seen.handshakes++;
    if (reply !== undefined) socket.end(reply);
  });
  return { url: chat.url, seen };
}

async function startDoor(chat: string, options: Parameters<typeof startGateway>[0] = {}) {
  const door = await startGateway({ ...options, upstreams: { chat } });
  stops.push(() => door.stop(200));
  return { ...door, ws: `ws://127.0.0.1:${door.port}/socket.io/?EIO=4&transport=websocket` };
}

async function open(url: string, protocols?: string[]): Promise<WebSocket> {
  const socket = new WebSocket(url, protocols);
  socket.binaryType = 'arraybuffer';
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error('refused'));
  });
  return socket;
}
const closing = (socket: WebSocket): Promise<[number, string]> =>
  new Promise((resolve) => {
    socket.onclose = ({ code, reason }) => resolve([code, reason]);
  });
const next = (socket: WebSocket): Promise<unknown> =>
  new Promise((resolve) => {
    socket.onmessage = ({ data }) => resolve(data);
  });

describe('relay', () => {
  test('text, binary and the chosen subprotocol pass both ways; the service knows the client', async () => {
    const chat = await startChat((socket) => void socket.send('first'));
    const door = await startDoor(chat.url);
    const socket = new WebSocket(door.ws, ['beta', 'alpha']);
    socket.binaryType = 'arraybuffer';
    expect(await next(socket)).toBe('first');
    expect(socket.protocol).toBe('beta');
    socket.send('žluťoučký');
    expect(await next(socket)).toBe('žluťoučký');
    const bytes = crypto.getRandomValues(new Uint8Array(60_000));
    socket.send(bytes);
    expect(new Uint8Array((await next(socket)) as ArrayBuffer)).toEqual(bytes);
    expect(chat.seen[0]!.headers['x-forwarded-for']).toBe('127.0.0.1');
    expect(chat.seen[0]!.headers['x-forwarded-host']).toBe(`127.0.0.1:${door.port}`);
    socket.close();
  });

  test('close codes pass both ways', async () => {
    const chat = await startChat();
    const door = await startDoor(chat.url);
    const told = await open(door.ws);
    const closed = closing(told);
    told.send('close me');
    expect(await closed).toEqual([4321, 'as you wish']);

    const leaving = await open(door.ws);
    leaving.close(3456, 'bye');
    await eventually(() => chat.closes.some(([code, reason]) => code === 3456 && reason === 'bye'));

    const silent = await open(door.ws);
    silent.close();
    await eventually(() => chat.closes.some(([code]) => code === 1005 || code === 1000));
  });

  test('a client that vanishes ends the upstream socket', async () => {
    const chat = await startChat();
    const door = await startDoor(chat.url);
    const client = connect(door.port, '127.0.0.1');
    client.on('error', () => {});
    client.write(handshake());
    await new Promise((resolve) => client.once('data', resolve));
    client.destroy();
    await eventually(() => chat.closes.length === 1, 1_000);
    expect(chat.closes[0]![0]).toBe(1006);
  });

  test('an upstream that dies closes the client with 1012', async () => {
    const sockets: Socket[] = [];
    const server = createServer();
    server.on('upgrade', (request, socket) => {
      sockets.push(socket as Socket);
      const accept = createHash('sha1')
        .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    stops.push(async () => void server.close());
    const door = await startDoor(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const socket = await open(door.ws);
    const closed = closing(socket);
    sockets[0]!.destroy();
    expect((await closed)[0]).toBe(1012);
  });

  test('a message over 1 MiB closes with 1009; one just under it passes', async () => {
    const chat = await startChat();
    const door = await startDoor(chat.url);
    const socket = await open(door.ws);
    socket.send('x'.repeat(MiB));
    expect(((await next(socket)) as string).length).toBe(MiB);
    const closed = closing(socket);
    socket.send('x'.repeat(MiB + 1));
    expect((await closed)[0]).toBe(1009);
    await eventually(() => chat.closes.length === 1);
  });

  test('a client that reads nothing slows the service down, then is dropped', async () => {
    let wrote = 0;
    let feed: Bun.ServerWebSocket<undefined> | undefined;
    const chat = await startChat((socket) => {
      feed = socket;
    });
    const door = await startDoor(chat.url, { timings: { stallMs: 500 } });
    const client = connect(door.port, '127.0.0.1');
    client.on('error', () => {});
    await new Promise<void>((resolve) => {
      client.once('data', () => {
        client.pause();
        resolve();
      });
      client.write(handshake());
    });
    await eventually(() => feed !== undefined);
    const piece = new Uint8Array(MiB);
    for (let round = 0; round < 200 && feed!.getBufferedAmount() < 2 * MiB; round++) {
      wrote += MiB;
      feed!.send(piece);
      await sleep(2);
    }
    // What the kernel's buffers take on four socket ends, and no more: the gateway has stopped reading.
    expect(wrote / MiB).toBeLessThan(60);
    await eventually(() => chat.closes.length === 1, 3_000);
    const metrics = await (await fetch(`${door.internalUrl}/metrics`)).text();
    expect(metrics).toContain(
      'lyceum_gateway_sockets_closed_total{reason="slow-client",service="gateway"} 1',
    );
    client.destroy();
  });

  test('stopping tells every client 1001', async () => {
    const chat = await startChat();
    const door = await startGateway({ upstreams: { chat: chat.url } });
    const sockets = await Promise.all(
      Array.from({ length: 5 }, () => open(`ws://127.0.0.1:${door.port}/socket.io/?transport=websocket`)),
    );
    const closed = sockets.map(closing);
    const started = performance.now();
    await door.stop(2_000);
    expect(performance.now() - started).toBeLessThan(1_900);
    expect((await Promise.all(closed)).map(([code]) => code)).toEqual([1001, 1001, 1001, 1001, 1001]);
  });
});

describe('handshakes that are refused', () => {
  test('no chat answers: 503', async () => {
    const door = await startDoor(NOBODY);
    const { text, closed } = await sendRaw(door.port, handshake());
    expect(text).toStartWith('HTTP/1.1 503');
    expect(text).toContain('"code":"upstream-unavailable"');
    expect(closed).toBe(true);
  });

  test('one chat of two is down: the other one is taken', async () => {
    const chat = await startChat();
    const door = await startDoor(`${NOBODY},${chat.url}`);
    for (let turn = 0; turn < 4; turn++) (await open(door.ws)).close();
    expect(chat.seen).toHaveLength(4);
  });

  test('a foreign Origin: 403; our own and the configured ones: in', async () => {
    const chat = await startChat();
    const door = await startDoor(chat.url, { env: { CORS_ORIGINS: 'https://app.example' } });
    const statusFor = async (origin: string) =>
      (await sendRaw(door.port, handshake(`Origin: ${origin}\r\n`), 300)).text.slice(9, 12);
    expect(await statusFor('https://evil.example')).toBe('403');
    expect(await statusFor('null')).toBe('403');
    expect(await statusFor('https://app.example')).toBe('101');
    expect(await statusFor('http://school.example')).toBe('101');
  });

  test('another version: 426 with the one that is spoken; a key or version twice: 400', async () => {
    const door = await startDoor(NOBODY);
    const { text } = await sendRaw(door.port, handshake().replace('Version: 13', 'Version: 8'));
    expect(text).toStartWith('HTTP/1.1 426 Upgrade Required');
    expect(text).toContain('sec-websocket-version: 13\r\n');
    expect(text).toContain('upgrade: websocket\r\n');
    expect(text).toContain('"code":"upgrade-required"');
    for (const twice of [`Sec-WebSocket-Key: ${KEY}\r\n`, 'Sec-WebSocket-Version: 13\r\n'])
      expect((await sendRaw(door.port, handshake(twice))).text).toStartWith('HTTP/1.1 400');
  });

  test('what chat refuses is told to the client as its own fault; what it fails at, another chat is asked', async () => {
    const refusing = await startRefusing('HTTP/1.1 400 Bad Request\r\n\r\n');
    const refused = await startDoor(refusing.url);
    expect((await sendRaw(refused.port, handshake())).text).toStartWith('HTTP/1.1 400');

    const chat = await startChat();
    const failing = await startRefusing('HTTP/1.1 503 Service Unavailable\r\n\r\n');
    const door = await startDoor(`${failing.url},${chat.url}`);
    for (let turn = 0; turn < 6; turn++) (await open(door.ws)).close();
    expect(chat.seen).toHaveLength(6);
    const alone = await startDoor(failing.url);
    expect((await sendRaw(alone.port, handshake())).text).toStartWith('HTTP/1.1 503');
  });

  test('a chat that says nothing is left for another one', async () => {
    const chat = await startChat();
    const silent = await startRefusing(undefined);
    const door = await startDoor(`${silent.url},${chat.url}`);
    for (let turn = 0; turn < 20 && silent.seen.handshakes === 0; turn++) (await open(door.ws)).close();
    expect(silent.seen.handshakes).toBe(1);
  }, 20_000);

  test('long polling: a problem that says so', async () => {
    const door = await startDoor(NOBODY);
    const polling = await fetch(`${door.url}/socket.io/?EIO=4&transport=polling`);
    expect(polling.status).toBe(400);
    expect(((await polling.json()) as { detail: string }).detail).toContain('WebSocket only');
    expect((await sendRaw(door.port, handshake('', '/socket.io/?transport=polling'))).text).toStartWith(
      'HTTP/1.1 400',
    );
    expect((await sendRaw(door.port, handshake('', '/api/chat/rooms?transport=websocket'))).text).toStartWith(
      'HTTP/1.1 404',
    );
    expect((await sendRaw(door.port, handshake().replace(KEY, 'short'))).text).toStartWith('HTTP/1.1 400');
    expect((await sendRaw(door.port, handshake('Host: b\r\n'))).text).toStartWith('HTTP/1.1 400');
  });
});

describe('frames', () => {
  test('are followed over any cut of the stream', () => {
    const masked = Buffer.concat([Buffer.from([0x81, 0x80 | 5, 1, 2, 3, 4]), Buffer.from('hello')]);
    const long = Buffer.concat([Buffer.from([0x82, 126, 0x01, 0x2c]), Buffer.alloc(300)]);
    const stream = Buffer.concat([masked, long, Buffer.from([0x89, 0]), closeFrame(1000, 'ok')]);
    for (const cut of [1, 2, 3, 7, 50, stream.length]) {
      const follower = new FrameFollower(1_000);
      for (let at = 0; at < stream.length; at += cut)
        expect(follower.follow(stream.subarray(at, at + cut))).toBe(true);
      expect([follower.atBoundary, follower.sawClose]).toEqual([true, true]);
    }
  });

  test('the parts of a message count together', () => {
    const follower = new FrameFollower(100);
    expect(follower.follow(Buffer.concat([Buffer.from([0x01, 60]), Buffer.alloc(60)]))).toBe(true);
    expect(follower.follow(Buffer.from([0x80, 60]))).toBe(false);
  });
});
