import { afterAll, beforeAll, expect, test } from 'bun:test';
import { connect, type Socket } from 'node:net';
import type { HttpServer } from './serve.ts';
import { serveStreams } from './streaming-server.ts';

const MiB = 1024 * 1024;
let server: HttpServer;
let url: string;
const seen = { pulled: 0, cancelled: false, read: 0, failed: '', aborted: false };
let slowReader = Promise.withResolvers<void>();

beforeAll(async () => {
  server = await serveStreams({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === '/large') {
        seen.pulled = 0;
        const body = new ReadableStream({
          pull(controller) {
            if (seen.pulled++ < 256) controller.enqueue(new Uint8Array(MiB));
            else controller.close();
          },
          cancel() {
            seen.cancelled = true;
          },
        });
        return new Response(body, { headers: { 'content-length': String(256 * MiB) } });
      }
      if (pathname === '/refuse') return Response.json({ no: true }, { status: 403 });
      if (pathname === '/echo')
        return new Response(request.body, { headers: { 'x-query': new URL(request.url).search } });
      if (pathname === '/breaks') {
        const body = new ReadableStream({
          async pull(controller) {
            controller.enqueue(new Uint8Array(10));
            await new Promise((resolve) => setTimeout(resolve, 50));
            controller.error(new Error('broken'));
          },
        });
        return new Response(body, { headers: { 'content-length': '1000' } });
      }
      request.signal.addEventListener('abort', () => {
        seen.aborted = true;
      });
      seen.read = 0;
      const reader = request.body!.getReader();
      try {
        await slowReader.promise;
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          seen.read += value.byteLength;
        }
      } catch (error) {
        seen.failed = String(error);
      }
      return Response.json({ read: seen.read });
    },
  });
  url = `http://127.0.0.1:${server.port}`;
});
afterAll(() => server.stop(500));

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function dial(head: string): Promise<{ socket: Socket; text: () => string }> {
  const socket = connect(server.port, '127.0.0.1');
  let text = '';
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1').slice(0, 2000);
  });
  socket.write(head);
  return { socket, text: () => text };
}

test('a streamed reply keeps its Content-Length, and HEAD has it too', async () => {
  const reply = await fetch(`${url}/large`);
  expect(reply.headers.get('content-length')).toBe(String(256 * MiB));
  expect((await reply.arrayBuffer()).byteLength).toBe(256 * MiB);
  const head = await fetch(`${url}/large`, { method: 'HEAD' });
  expect(head.headers.get('content-length')).toBe(String(256 * MiB));
});

test('a client that does not read stops the source; one that leaves frees it', async () => {
  seen.cancelled = false;
  const { socket } = await dial('GET /large HTTP/1.1\r\nhost: a\r\n\r\n');
  socket.pause();
  await pause(500);
  expect(seen.pulled).toBeLessThan(60);
  socket.destroy();
  await pause(300);
  expect(seen.cancelled).toBe(true);
});

test('an upload arrives at the pace it is read, in bounded memory', async () => {
  slowReader = Promise.withResolvers();
  Bun.gc(true);
  const { socket, text } = await dial(
    `POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: ${64 * MiB}\r\n\r\n`,
  );
  const chunk = new Uint8Array(MiB);
  let sent = 0;
  const writing = (async () => {
    for (; sent < 64; sent++) {
      if (!socket.write(chunk)) await new Promise((resolve) => socket.once('drain', resolve));
    }
  })();
  await pause(500);
  expect(sent).toBeLessThan(40);
  slowReader.resolve();
  await writing;
  await pause(500);
  expect(seen.read).toBe(64 * MiB);
  expect(text()).toContain('200');
  socket.destroy();
});

test('a client that hangs up fails the body and aborts the request', async () => {
  for (const head of ['content-length: 1000', 'transfer-encoding: chunked']) {
    seen.failed = '';
    seen.aborted = false;
    const { socket } = await dial(`POST /read HTTP/1.1\r\nhost: a\r\n${head}\r\n\r\n3\r\nabc\r\n`);
    await pause(100);
    socket.destroy();
    await pause(200);
    expect(seen.failed).toContain('hung up');
    expect(seen.aborted).toBe(true);
  }
});

test('a refusal reaches a client that still sends, and a reply that breaks off is seen as cut', async () => {
  const { socket, text } = await dial(
    `POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: ${10 * MiB}\r\n\r\nabc`,
  );
  await pause(200);
  expect(text()).toStartWith('HTTP/1.1 403');
  expect(text()).toContain('{"no":true}');
  socket.destroy();
  const broken = await fetch(`${url}/breaks`)
    .then((reply) => reply.arrayBuffer())
    .catch((error: Error) => error);
  expect(broken).toBeInstanceOf(Error);
});

test('bodies and queries come through as they are', async () => {
  const reply = await fetch(`${url}/echo?a=%20b&c`, { method: 'POST', body: 'hällo' });
  expect(await reply.text()).toBe('hällo');
  expect(reply.headers.get('x-query')).toBe('?a=%20b&c');
});
