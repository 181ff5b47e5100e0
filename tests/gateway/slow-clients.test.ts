import { afterEach, describe, expect, test } from 'bun:test';
import { eventually } from '../../gateway/testing.ts';
import { only } from './messages.ts';
import {
  answering,
  DOWNLOAD_PATH,
  get,
  JSON_PATH,
  ok,
  post,
  type RawClient,
  startedOnWire,
  UPLOAD_PATH,
} from './wire.ts';

/** Clients that are slow on purpose are cut off and cost others nothing; those that are slow but honest are served. */

const { stopAll, rawUpstream, gateway, gatewayProcess, client } = startedOnWire();
afterEach(stopAll);

const MiB = 1024 ** 2;

/** Sends byte after byte until all are gone or the other side ends it. */
async function dribble(one: RawClient, bytes: string, everyMs: number): Promise<void> {
  for (const byte of bytes) {
    if (one.ending) return;
    await one.send(byte);
    await Bun.sleep(everyMs);
  }
}

describe('heads', () => {
  test('a connection that says nothing, and one that dribbles its head, are closed after headMs', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({
      upstreams: { chat: chat.url },
      timings: { headMs: 400, keepAliveMs: 60_000 },
    });
    const silent = await client(door.port);
    const dribbling = await client(door.port);
    const emptyLines = await client(door.port);
    const kept = await client(door.port);
    expect((await kept.ask(get(JSON_PATH))).status).toBe(200);
    void dribble(dribbling, get(JSON_PATH, 'X-A: b\r\n'.repeat(50)), 20);
    void dribble(emptyLines, '\r\n'.repeat(200), 20);
    void dribble(kept, get(JSON_PATH, 'X-A: b\r\n'.repeat(50)), 20);
    for (const one of [silent, dribbling, emptyLines, kept]) await one.ended(1_500);
    expect(chat.requests).toHaveLength(1);
  });

  test('a connection between two requests may wait for keepAliveMs, and then ends in good order', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { headMs: 200, keepAliveMs: 900 } });
    const one = await client(door.port);
    for (let turn = 0; turn < 2; turn++) {
      expect((await one.ask(get(JSON_PATH))).status).toBe(200);
      await Bun.sleep(500);
      expect(one.ending).toBeUndefined();
    }
    expect(await one.ended(1_500)).toBe('end');
  });

  test('a head that takes long but comes in time is answered', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { headMs: 5_000 } });
    const one = await client(door.port);
    await dribble(one, get(JSON_PATH), 2);
    expect((await one.reply()).status).toBe(200);
  });
});

describe('bodies', () => {
  test('a JSON body that dribbles: 408, and the service never hears of it', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { jsonBodyMs: 300, lingerMs: 50 } });
    for (const lines of ['Content-Length: 1000\r\n', 'Transfer-Encoding: chunked\r\n']) {
      const late = await client(door.port);
      await late.send(post(JSON_PATH, lines));
      void dribble(late, '1\r\na\r\n'.repeat(100), 20);
      const reply = await late.reply('POST', 1_500);
      expect([reply.status, JSON.parse(String(reply.body)).code]).toEqual([408, 'request-timeout']);
      expect(only(reply.headers, 'connection')).toBe('close');
      await late.ended(1_500);
    }
    expect(chat.peers).toHaveLength(0);
  });

  test('an upload below the least rate is cut off and the service let go; one above it passes, however long', async () => {
    const content = await rawUpstream(async (peer) => {
      const request = await peer.request(20_000);
      if (request) await peer.send(ok(String(request.body.byteLength)));
    });
    const door = await gateway({
      upstreams: { content: content.url },
      // Shorter than the upload, all of them: none may count for it.
      timings: {
        uploadWindowMs: 400,
        uploadBytesPerSecond: 1_000,
        lingerMs: 50,
        idleMs: 300,
        stallMs: 300,
        firstByteMs: 300,
        keepAliveMs: 300,
        headMs: 300,
        jsonBodyMs: 300,
        upstreamKeepAliveMs: 300,
      },
    });
    for (const lines of ['Content-Length: 100000\r\n', 'Transfer-Encoding: chunked\r\n']) {
      const slow = await client(door.port);
      await slow.send(post(UPLOAD_PATH, lines));
      void dribble(slow, '1\r\na\r\n'.repeat(500), 20);
      const reply = await slow.reply('POST', 3_000);
      expect([reply.status, JSON.parse(String(reply.body)).code]).toEqual([408, 'request-timeout']);
      await content.peers.at(-1)!.ended(1_000);
    }
    const honest = await client(door.port);
    await honest.send(post(UPLOAD_PATH, 'Content-Length: 8000\r\n'));
    for (let sent = 0; sent < 80; sent++) {
      await honest.send('x'.repeat(100));
      await Bun.sleep(40);
    }
    expect(String((await honest.reply('POST')).body)).toBe('8000');
  });

  test('time in which the service takes nothing is not held against the client', async () => {
    const size = 24 * MiB;
    const content = await rawUpstream(async (peer) => {
      const head = await peer.head();
      peer.keeping = false;
      peer.socket.pause();
      await Bun.sleep(1_200);
      peer.socket.resume();
      await peer.wait('the whole', () => (peer.heardBytes === head.length + size ? true : undefined));
      await peer.send(ok('all'));
    });
    const door = await gateway({
      upstreams: { content: content.url },
      timings: { uploadWindowMs: 300, uploadBytesPerSecond: 1_000, stallMs: 5_000 },
    });
    const one = await client(door.port);
    await one.send(post(UPLOAD_PATH, `Content-Length: ${size}\r\n`));
    for (let sent = 0; sent < size; sent += MiB) await one.send(Buffer.alloc(MiB));
    expect(String((await one.reply('POST')).body)).toBe('all');
  });
});

describe('replies', () => {
  test('a client that takes nothing is cut off after stallMs; one that takes little is not', async () => {
    const size = 24 * MiB;
    const content = await rawUpstream(answering(() => ok(Buffer.alloc(size))));
    const door = await gateway({ upstreams: { content: content.url }, timings: { stallMs: 800 } });
    const none = await client(door.port);
    none.socket.pause();
    await none.send(get(DOWNLOAD_PATH));
    const little = await client(door.port);
    little.keeping = false;
    await little.send(get(DOWNLOAD_PATH));
    // A gulp every so often, for three times as long as a stall may last.
    const reading = (async () => {
      for (let gulp = 0; gulp < 12; gulp++) {
        little.socket.pause();
        await Bun.sleep(200);
        little.socket.resume();
        const before = little.heardBytes;
        await eventually(() => little.heardBytes > before || little.heardBytes >= size);
      }
    })();
    await eventually(() => content.peers.some(({ ending }) => ending !== undefined), 4_000);
    await reading;
    await little.wait('the whole', () => (little.heardBytes > size ? true : undefined));
    expect(little.ending).toBeUndefined();
  });
});

describe('many', () => {
  test('a flood of pipelined requests whose replies are not read is held in bounds, and stops nobody', async () => {
    const body = 'x'.repeat(1_000);
    const chat = await rawUpstream(answering(() => ok(body)));
    const door = await gatewayProcess({ upstreams: { chat: chat.url }, timings: { stallMs: 1_500 } });
    const before = door.memory().now;
    const flood = await Promise.all(Array.from({ length: 8 }, () => client(door.port)));
    const bytes = Buffer.from(get(JSON_PATH).repeat(2_000) + get('/healthz').repeat(2_000));
    for (const one of flood) {
      one.socket.pause();
      void (async () => {
        for (let turn = 0; turn < 40 && !one.ending && !one.socket.destroyed; turn++) await one.send(bytes);
      })();
    }
    const other = await client(door.port);
    for (let turn = 0; turn < 100; turn++) {
      expect((await other.ask(get(JSON_PATH))).status).toBe(200);
      await Bun.sleep(10);
    }
    expect(door.memory().most - before).toBeLessThan(120);
    // They stand still: cut off.
    await eventually(() => flood.every(({ ending }) => ending === 'reset'), 20_000);
    expect((await other.ask(get(JSON_PATH))).status).toBe(200);
    expect(door.complaints()).toBe('');
  });

  test('4,000 connections that wait cost little, and end when their time is over', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gatewayProcess({
      upstreams: { chat: chat.url },
      timings: { headMs: 12_000, keepAliveMs: 12_000 },
    });
    const [memory, files] = [door.memory().now, door.openFiles()];
    const idle: RawClient[] = [];
    while (idle.length < 4_000)
      idle.push(...(await Promise.all(Array.from({ length: 200 }, () => client(door.port)))));
    // Half have been used, half have not.
    await Promise.all(idle.slice(0, 2_000).map((one) => one.ask(get('/healthz'))));
    // The kernel connects them before the gateway accepts them.
    await eventually(() => door.openFiles() - files >= 4_000);
    const busy = await client(door.port);
    for (let turn = 0; turn < 50; turn++) expect((await busy.ask(get(JSON_PATH))).status).toBe(200);
    expect((door.memory().now - memory) * 1_024).toBeLessThan(4_000 * 16);
    await Promise.all(idle.map((one) => one.ended(30_000)));
    await eventually(() => door.openFiles() - files < 50);
  });
});
