import { afterEach, describe, expect, test } from 'bun:test';
import type { ServerResponse } from 'node:http';
import { BEARER, eventually, sendRaw, sleep, startedForOneTest } from '../testing.ts';

const { stopAll, upstream, gateway } = startedForOneTest();
afterEach(stopAll);

/** A service that sends events when the test says so. */
async function startEvents(contentType: string, timings = {}) {
  const streams: ServerResponse[] = [];
  let closed = 0;
  const service = await upstream((_, response) => {
    response.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-store' });
    response.write(': welcome\n\n');
    response.on('close', () => closed++);
    streams.push(response);
  });
  const door = await gateway({ upstreams: { profile: service.url }, timings });
  const abort = new AbortController();
  const open = async () => {
    const reply = await fetch(`${door.url}/api/profiles/events`, {
      headers: { ...BEARER, accept: 'text/event-stream', 'accept-encoding': 'gzip, br, zstd' },
      signal: abort.signal,
    });
    const reader = reply.body!.getReader();
    return { reply, next: async () => Buffer.from((await reader.read()).value ?? []).toString() };
  };
  return { streams, door, abort, open, closed: () => closed };
}

describe('server-sent events', () => {
  test('come one by one, as they are, and may be silent for longer than any other reply', async () => {
    const { streams, open, abort } = await startEvents('text/event-stream; charset=utf-8', {
      idleMs: 150,
      stallMs: 150,
      sweepMs: 20,
    });
    const { reply, next } = await open();
    expect(reply.headers.get('content-encoding')).toBeNull();
    expect(reply.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(await next()).toBe(': welcome\n\n');
    for (let count = 0; count < 3; count++) {
      await sleep(500);
      streams[0]!.write(`id: ${count}\ndata: {}\n\n`);
      expect(await next()).toBe(`id: ${count}\ndata: {}\n\n`);
    }
    abort.abort();
  });

  test('another kind of reply that is silent for so long is given up', async () => {
    const { open } = await startEvents('text/plain', { idleMs: 150, sweepMs: 20 });
    const { next } = await open();
    // Compressed as it comes, which fetch undoes.
    expect(await next()).toBe(': welcome\n\n');
    await expect(next()).rejects.toThrow();
  });

  test('end at the service when the client leaves, at the client when the service ends', async () => {
    const { streams, door, open, abort, closed } = await startEvents('text/event-stream');
    const { next } = await open();
    expect(await next()).toBe(': welcome\n\n');
    abort.abort();
    await eventually(() => closed() === 1);
    const raw = sendRaw(
      door.port,
      'GET /api/profiles/events HTTP/1.1\r\nhost: a.example\r\nauthorization: Bearer good\r\nconnection: close\r\n\r\n',
      5_000,
    );
    await eventually(() => streams.length === 2);
    streams[1]!.end('data: last\n\n');
    const { text, closed: hasEnded } = await raw;
    expect([text.endsWith('data: last\n\n\r\n0\r\n\r\n'), hasEnded]).toEqual([true, true]);
  });
});
