import { afterEach, describe, expect, test } from 'bun:test';
import { randomBytes } from 'node:crypto';
import { eventually } from '../../gateway/testing.ts';
import { only } from './messages.ts';
import {
  AUTH,
  answering,
  DOWNLOAD_PATH,
  get,
  HOST,
  JSON_PATH,
  ok,
  post,
  startedOnWire,
  UPLOAD_PATH,
  type UpstreamPeer,
} from './wire.ts';

/** Bodies of any size, at the pace of the slower side, and given up as soon as one side is gone. */

const { stopAll, rawUpstream, gateway, gatewayProcess, client } = startedOnWire();
afterEach(stopAll);

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;
/** What large streams are made of, again and again. */
const piece = randomBytes(MiB);
/** What may lie between two ends: four socket buffers of the kernel, and what one turn holds. */
const BUFFERED = 32 * MiB;
/** Within so many milliseconds the other side must know. */
const SOON = 1_000;

/** Compares a stream with what it must be, as it comes. */
class StreamCheck {
  bytes = 0;
  wrong = 0;
  readonly take = (chunk: Buffer): void => {
    for (let at = 0; at < chunk.byteLength; ) {
      const offset = this.bytes % MiB;
      const size = Math.min(chunk.byteLength - at, MiB - offset);
      if (chunk.compare(piece, offset, offset + size, at, at + size) !== 0) this.wrong++;
      at += size;
      this.bytes += size;
    }
  };
}

describe('back-pressure', () => {
  test('1 GiB down: a client that stops reading stops the service, and nothing is held meanwhile', async () => {
    let sent = 0;
    const content = await rawUpstream(async (peer) => {
      await peer.request();
      await peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${GiB}\r\n\r\n`);
      for (; sent < GiB && !peer.ending; sent += piece.byteLength) await peer.send(piece);
    });
    const door = await gatewayProcess({ upstreams: { content: content.url } });
    const before = door.memory().now;
    const one = await client(door.port);
    await one.send(get(DOWNLOAD_PATH));
    await one.until('\r\n\r\n');
    const check = new StreamCheck();
    check.take(one.rest.subarray(one.rest.indexOf('\r\n\r\n') + 4));
    one.onChunk = check.take;
    one.keeping = false;
    one.socket.pause();
    await Bun.sleep(700);
    const held = sent - one.heardBytes;
    await Bun.sleep(700);
    expect(sent - one.heardBytes).toBe(held);
    expect(held).toBeLessThan(BUFFERED);
    one.socket.resume();
    await one.wait('the whole', () => (check.bytes === GiB ? true : undefined), 40_000);
    expect(check.wrong).toBe(0);
    expect(door.memory().most - before).toBeLessThan(100);
  }, 60_000);

  test('1 GiB up: a service that stops reading stops the client, and nothing is held meanwhile', async () => {
    let peer: UpstreamPeer | undefined;
    const check = new StreamCheck();
    const content = await rawUpstream(async (given) => {
      peer = given;
      const head = await given.head();
      expect(head).toContain(`content-length: ${GiB}`);
      check.take(given.rest.subarray(head.length));
      given.onChunk = check.take;
      given.keeping = false;
      given.socket.pause();
      await given.wait('the whole', () => (check.bytes === GiB ? true : undefined), 50_000);
      await given.send(ok('thanks'));
    });
    const door = await gatewayProcess({ upstreams: { content: content.url } });
    const before = door.memory().now;
    const one = await client(door.port);
    let sent = 0;
    await one.send(post(UPLOAD_PATH, `Content-Length: ${GiB}\r\n`));
    const sending = (async () => {
      for (; sent < GiB && !one.ending; sent += piece.byteLength) await one.send(piece);
    })();
    await eventually(() => peer !== undefined && sent > MiB);
    await Bun.sleep(700);
    const stopped = sent;
    await Bun.sleep(700);
    expect(sent).toBe(stopped);
    expect(sent).toBeLessThan(BUFFERED);
    peer!.socket.resume();
    await sending;
    expect(String((await one.reply('POST', 30_000)).body)).toBe('thanks');
    expect([content.faults, check.wrong]).toEqual([[], 0]);
    expect(door.memory().most - before).toBeLessThan(100);
  }, 60_000);

  test('chunks up and down, each without waiting for the next; both directions at once', async () => {
    // An echo: the reply begins while the body of the request is still to come.
    const content = await rawUpstream(async (peer) => {
      await peer.until('\r\n\r\n');
      await peer.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      for (const word of ['one', 'two', 'three']) {
        await peer.until(word);
        await peer.send(`${word.length}\r\n${word}\r\n`);
      }
      const request = await peer.request();
      await peer.send(`0\r\nX-Heard: ${request!.body}\r\n\r\n`);
    });
    const door = await gateway({ upstreams: { content: content.url }, timings: { lingerMs: 50 } });
    const one = await client(door.port);
    await one.send(post(UPLOAD_PATH, 'Transfer-Encoding: chunked\r\n'));
    for (const word of ['one', 'two', 'three']) {
      await one.send(`${word.length}\r\n${word}\r\n`);
      await one.until(`\r\n${word}\r\n`);
    }
    await one.send('0\r\n\r\n');
    const reply = await one.reply('POST');
    expect([String(reply.body), only(reply.headers, 'connection'), reply.trailers]).toEqual([
      'onetwothree',
      'close',
      [['x-heard', 'onetwothree']],
    ]);
    expect(content.faults).toEqual([]);
  });

  test('a large reply on a connection that closes after it arrives whole, however slowly it is read', async () => {
    const size = 3 * MiB;
    const content = await rawUpstream(answering(() => ok(Buffer.alloc(size, 'x'))));
    const door = await gateway({ upstreams: { content: content.url }, timings: { lingerMs: 100 } });
    for (const request of [
      get(DOWNLOAD_PATH, 'Connection: close\r\n'),
      `GET ${DOWNLOAD_PATH} HTTP/1.0\r\n\r\n`,
    ]) {
      const one = await client(door.port);
      one.socket.pause();
      await one.send(request);
      for (let pause = 0; pause < 4; pause++) {
        await Bun.sleep(250);
        one.socket.resume();
        await Bun.sleep(5);
        one.socket.pause();
      }
      one.socket.resume();
      expect((await one.reply()).body.byteLength).toBe(size);
      expect(await one.ended()).toBe('end');
    }
  });
});

describe('a client that goes away', () => {
  for (const way of ['reset', 'close'] as const) {
    test(`${way} before the reply: the service is let go`, async () => {
      const chat = await rawUpstream(async (peer) => void (await peer.request()));
      const door = await gateway({ upstreams: { chat: chat.url } });
      const one = await client(door.port);
      await one.send(get(JSON_PATH));
      await eventually(() => chat.requests.length === 1);
      one[way]();
      await chat.peers[0]!.ended(SOON);
    });

    test(`${way} within a download that flows`, async () => {
      const content = await rawUpstream(async (peer) => {
        await peer.request();
        await peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${GiB}\r\n\r\n`);
        while (!peer.ending) await peer.send(piece);
      });
      const door = await gateway({ upstreams: { content: content.url } });
      const one = await client(door.port);
      await one.send(get(DOWNLOAD_PATH));
      one.keeping = false;
      await eventually(() => one.heardBytes > 5 * MiB);
      one[way]();
      await content.peers[0]!.ended(SOON);
    });

    test(`${way} within a stream of events that is silent`, async () => {
      const content = await rawUpstream(async (peer) => {
        await peer.request();
        await peer.send(
          'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n',
        );
        await peer.send('9\r\ndata: a\n\n\r\n');
      });
      const door = await gateway({ upstreams: { content: content.url } });
      const one = await client(door.port);
      await one.send(get('/api/content/courses'));
      await one.until('data: a');
      one[way]();
      await content.peers[0]!.ended(SOON);
    });

    test(`${way} within an upload: the service never takes it for whole`, async () => {
      for (const framing of ['Content-Length: 1000\r\n', 'Transfer-Encoding: chunked\r\n']) {
        const content = await rawUpstream(async (peer) => {
          await peer.until('some bytes');
        });
        const door = await gateway({ upstreams: { content: content.url } });
        const one = await client(door.port);
        await one.send(
          post(UPLOAD_PATH, framing, framing.startsWith('T') ? 'a\r\nsome bytes\r\n' : 'some bytes'),
        );
        await eventually(() => content.peers[0]?.text.includes('some bytes') ?? false);
        one[way]();
        await content.peers[0]!.ended(SOON);
        expect(content.peers[0]!.text).not.toContain('\r\n0\r\n');
      }
    });
  }

  test('while it waits for a place or a connection: its turn is given up', async () => {
    const chat = await rawUpstream(async (peer) => {
      for (let request = await peer.request(); request; request = await peer.request()) {
        await Bun.sleep(300);
        await peer.send(ok());
      }
    });
    const door = await gateway({ upstreams: { chat: chat.url }, env: { UPSTREAM_CHAT_MAX_IN_FLIGHT: '1' } });
    const first = await client(door.port);
    await first.send(get(JSON_PATH));
    await eventually(() => chat.requests.length === 1);
    const waiting = await Promise.all(Array.from({ length: 5 }, () => client(door.port)));
    for (const one of waiting) await one.send(get(`${JSON_PATH}?gone`));
    await Bun.sleep(50);
    for (const one of waiting) one.reset();
    expect((await first.reply()).status).toBe(200);
    expect((await first.ask(get(JSON_PATH))).status).toBe(200);
    expect(chat.requests.filter(({ target }) => target.includes('gone'))).toEqual([]);
  });
});

describe('streams of events', () => {
  test('each event comes at once, and silence for longer than every time-out ends nothing', async () => {
    const content = await rawUpstream(async (peer) => {
      await peer.request();
      await peer.send(
        'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n',
      );
      for (const word of ['one', 'two', 'three']) {
        const event = `data: ${word}\n\n`;
        await peer.send(`${event.length.toString(16)}\r\n${event}\r\n`);
        await Bun.sleep(700);
      }
      await peer.send('0\r\n\r\n');
    });
    const ms = 200;
    const door = await gateway({
      upstreams: { content: content.url },
      timings: {
        idleMs: ms,
        firstByteMs: ms,
        stallMs: ms,
        keepAliveMs: ms,
        upstreamKeepAliveMs: ms,
        headMs: ms,
      },
    });
    const one = await client(door.port);
    await one.send(get('/api/content/courses', 'Accept: text/event-stream\r\nAccept-Encoding: gzip, br\r\n'));
    for (const word of ['one', 'two', 'three']) await one.until(`data: ${word}\n\n`, 1_000);
    const reply = await one.reply();
    expect(String(reply.body)).toBe('data: one\n\ndata: two\n\ndata: three\n\n');
    expect(only(reply.headers, 'content-encoding')).toBeUndefined();
    expect((await one.ask(get('/healthz'))).status).toBe(200);
  });

  test('that end with their connection', async () => {
    const content = await rawUpstream(async (peer) => {
      await peer.request();
      await peer.send('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n');
      await Bun.sleep(500);
      await peer.send('data: b\n\n');
      peer.halfClose();
    });
    const door = await gateway({ upstreams: { content: content.url }, timings: { idleMs: 150 } });
    const reply = await (await client(door.port)).ask(get('/api/content/courses'));
    expect(String(reply.body)).toBe('data: a\n\ndata: b\n\n');
  });

  test('without content type or patience: a reply that stands still is given up', async () => {
    const content = await rawUpstream(async (peer) => {
      await peer.request();
      await peer.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n');
    });
    const door = await gateway({ upstreams: { content: content.url }, timings: { idleMs: 150 } });
    const one = await client(door.port);
    await one.send(get('/api/content/courses'));
    expect(await one.ended(SOON)).toBe('reset');
  });
});

describe('a service that answers early', () => {
  test('its refusal reaches a client that has not sent its body, and one that keeps sending', async () => {
    const content = await rawUpstream(async (peer) => {
      await peer.until('\r\n\r\n');
      await peer.send('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
    });
    const door = await gateway({ upstreams: { content: content.url }, timings: { lingerMs: 500 } });
    const silent = await client(door.port);
    const refused = await silent.ask(post(UPLOAD_PATH, 'Content-Length: 1000\r\n'));
    expect([refused.status, only(refused.headers, 'connection')]).toEqual([403, 'close']);

    const eager = await client(door.port);
    void eager.send(post(UPLOAD_PATH, 'Content-Length: 100000000\r\n'));
    void (async () => {
      while (!eager.ending && eager.heardBytes === 0) await eager.send(piece);
    })();
    expect((await eager.reply('POST')).status).toBe(403);
    for (const peer of content.peers) await peer.ended(SOON);
    expect(content.requests).toEqual([]);
  });

  test('a refusal of our own does too, without the service', async () => {
    const content = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { content: content.url, profile: content.url } });
    const one = await client(door.port);
    void one.send(`PUT /api/profiles/me/avatar HTTP/1.1\r\n${HOST}${AUTH}Transfer-Encoding: chunked\r\n\r\n`);
    for (let sent = 0; sent < 20 && one.heardBytes === 0; sent++) {
      await one.send(Buffer.concat([Buffer.from('100000\r\n'), piece, Buffer.from('\r\n')]));
      await Bun.sleep(5);
    }
    const reply = await one.reply('PUT');
    expect([reply.status, only(reply.headers, 'connection')]).toEqual([413, 'close']);
    await content.peers[0]!.ended(SOON);
    expect(content.requests).toEqual([]);
  });
});
