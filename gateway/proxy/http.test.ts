import { afterEach, describe, expect, test } from 'bun:test';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { ROUTES } from '../routes.ts';
import { BEARER, eventually, NOBODY, sendRaw, sleep, startedForOneTest } from '../testing.ts';

const MiB = 1024 ** 2;
const { stopAll, upstream, gateway } = startedForOneTest();
afterEach(stopAll);

const auth = 'Authorization: Bearer good\r\n';

describe('large bodies', () => {
  test('512 MiB up and 512 MiB down pass without being held', async () => {
    const size = 512 * MiB;
    let received = 0;
    const content = await upstream((request, response) => {
      if (request.method === 'POST') {
        request.on('data', (chunk: Buffer) => (received += chunk.byteLength));
        request.on('end', () => response.writeHead(201, { 'content-length': '2' }).end('{}'));
        return;
      }
      response.writeHead(200, { 'content-length': String(size), 'content-type': 'video/mp4' });
      const piece = Buffer.alloc(MiB, 7);
      let sent = 0;
      const push = (): void => {
        while (sent < size) {
          sent += piece.byteLength;
          if (!response.write(piece)) return void response.once('drain', push);
        }
        response.end();
      };
      push();
    });
    const door = await gateway({ upstreams: { content: content.url } });
    Bun.gc(true);
    const before = process.memoryUsage().rss;
    let peak = before;
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 20);

    const status = await new Promise<number>((resolve, reject) => {
      const upload = httpRequest(`${door.url}/api/content/files`, {
        method: 'POST',
        headers: { ...BEARER, 'content-length': String(size) },
      });
      upload.on('response', (response) => resolve(response.resume().statusCode!)).on('error', reject);
      const piece = Buffer.alloc(MiB, 3);
      let sent = 0;
      const push = (): void => {
        while (sent < size) {
          sent += piece.byteLength;
          if (!upload.write(piece)) return void upload.once('drain', push);
        }
        upload.end();
      };
      push();
    });
    expect(status).toBe(201);
    expect(received).toBe(size);
    expect(content.requests[0]!.headers['content-length']).toBe(String(size));

    const reply = await fetch(`${door.url}/api/content/files/1/content`);
    expect(reply.headers.get('content-length')).toBe(String(size));
    let down = 0;
    for await (const chunk of reply.body as unknown as AsyncIterable<Uint8Array>) down += chunk.byteLength;
    expect(down).toBe(size);
    clearInterval(watch);
    // The client and the service live in this process too.
    expect((peak - before) / MiB).toBeLessThan(200);
  }, 60_000);

  test('a body over its limit is refused by its Content-Length before the service hears of it', async () => {
    const profile = await upstream((_, response) => response.end());
    const door = await gateway({ upstreams: { profile: profile.url } });
    const { text } = await sendRaw(
      door.port,
      `PUT /api/profiles/me/avatar HTTP/1.1\r\nHost: a\r\n${auth}Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n`,
      400,
    );
    expect(text).toStartWith('HTTP/1.1 413');
    expect(text).toContain('"code":"too-large"');
    expect(text).not.toContain('100 Continue');
    expect(profile.requests).toHaveLength(0);
  });

  test('a chunked body over its limit is cut, and the service sees a broken request', async () => {
    let broken = false;
    const profile = await upstream((request) => {
      request.resume();
      request.on('close', () => (broken = !request.complete));
    });
    const door = await gateway({ upstreams: { profile: profile.url }, timings: { lingerMs: 200 } });
    const piece = `10000\r\n${'x'.repeat(65_536)}\r\n`;
    const { text } = await sendRaw(
      door.port,
      `PUT /api/profiles/me/avatar HTTP/1.1\r\nHost: a\r\n${auth}Transfer-Encoding: chunked\r\n\r\n${piece.repeat(100)}`,
      3_000,
    );
    expect(text).toStartWith('HTTP/1.1 413');
    await eventually(() => broken);
  });

  test('a chunked JSON body over 1 MiB is refused without asking the service', async () => {
    const chat = await upstream((_, response) => response.end());
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { lingerMs: 100 } });
    const { text } = await sendRaw(
      door.port,
      `POST /api/chat/rooms HTTP/1.1\r\nHost: a\r\n${auth}Transfer-Encoding: chunked\r\n\r\n${`10000\r\n${'x'.repeat(65_536)}\r\n`.repeat(20)}`,
      2_000,
    );
    expect(text).toStartWith('HTTP/1.1 413');
    expect(chat.requests).toHaveLength(0);
  });

  test('a service that refuses an upload early is heard, and the rest is not sent to it', async () => {
    const content = await upstream((_, response) =>
      response.writeHead(403, { 'content-length': '2' }).end('no'),
    );
    const door = await gateway({ upstreams: { content: content.url }, timings: { lingerMs: 200 } });
    const { text, closed } = await sendRaw(
      door.port,
      `POST /api/content/files HTTP/1.1\r\nHost: a\r\n${auth}Content-Length: 100000000\r\n\r\n${'x'.repeat(100_000)}`,
      2_000,
    );
    expect(text).toStartWith('HTTP/1.1 403');
    expect(text).toEndWith('no');
    expect(closed).toBe(true);
  });
});

describe('either side gives up', () => {
  test('a client that leaves while waiting ends the request upstream', async () => {
    let left = false;
    const chat = await upstream((_, response) => void response.on('close', () => (left = true)));
    const door = await gateway({ upstreams: { chat: chat.url } });
    const abort = new AbortController();
    const call = fetch(`${door.url}/api/chat/rooms`, { headers: BEARER, signal: abort.signal }).catch(
      () => 'gone',
    );
    await eventually(() => chat.requests.length === 1);
    abort.abort();
    await call;
    await eventually(() => left, 1_000);
  });

  test('a client that leaves in the middle of an upload ends it upstream', async () => {
    let broken = false;
    const content = await upstream((request) => {
      request.resume();
      request.on('close', () => (broken = !request.complete));
    });
    const door = await gateway({ upstreams: { content: content.url } });
    const socket = connect(door.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(`POST /api/content/files HTTP/1.1\r\nHost: a\r\n${auth}Content-Length: 1000000\r\n\r\nabc`);
    await eventually(() => content.requests.length === 1);
    socket.destroy();
    await eventually(() => broken, 1_000);
  });

  test('a client that leaves in the middle of a download ends it upstream', async () => {
    let left = false;
    const content = await upstream((_, response) => {
      response.writeHead(200, { 'content-length': '1000000' }).write('abc');
      response.on('close', () => (left = true));
    });
    const door = await gateway({ upstreams: { content: content.url } });
    const socket = connect(door.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET /api/content/files/1/content HTTP/1.1\r\nHost: a\r\n\r\n');
    await new Promise((resolve) => socket.once('data', resolve));
    socket.destroy();
    await eventually(() => left, 1_000);
  });

  for (const framing of ['content-length', 'chunked']) {
    test(`a service that dies in the middle of a ${framing} reply breaks the client's connection off`, async () => {
      const content = await upstream((_, response) => {
        response.writeHead(200, framing === 'chunked' ? {} : { 'content-length': '1000' });
        response.write('abc');
        setTimeout(() => response.destroy(), 50);
      });
      const door = await gateway({ upstreams: { content: content.url } });
      const { text, closed } = await sendRaw(
        door.port,
        'GET /api/content/files/1/content HTTP/1.1\r\nHost: a\r\n\r\n',
      );
      expect(text).toContain('abc');
      expect(text).not.toContain('\r\n0\r\n\r\n');
      expect(closed).toBe(true);
      await expect(
        fetch(`${door.url}/api/content/files/1/content`).then((reply) => reply.text()),
      ).rejects.toThrow();
    });
  }

  test('a service that breaks off before its reply: a read is tried again, a write is 502', async () => {
    let calls = 0;
    const chat = await upstream((request, response) => {
      calls++;
      if (request.method === 'GET' && calls > 1) response.end('again');
      else request.socket.destroy();
    });
    const door = await gateway({ upstreams: { chat: chat.url } });
    expect(await (await fetch(`${door.url}/api/chat/rooms`, { headers: BEARER })).text()).toBe('again');
    calls = 0;
    const reply = await fetch(`${door.url}/api/chat/rooms`, { method: 'POST', headers: BEARER, body: '{}' });
    expect(reply.status).toBe(502);
    expect(calls).toBe(1);
  });
});

describe('several addresses', () => {
  test('take turns; one that is down is passed over, for writes too', async () => {
    const hits: string[] = [];
    const one = await upstream((_, response) => response.end(String(hits.push('one'))));
    const two = await upstream((_, response) => response.end(String(hits.push('two'))));
    const door = await gateway({ upstreams: { chat: `${NOBODY},${one.url},${two.url}` } });
    for (let turn = 0; turn < 8; turn++) {
      const reply = await fetch(`${door.url}/api/chat/rooms`, {
        method: 'POST',
        headers: BEARER,
        body: '{}',
      });
      expect(reply.status).toBe(200);
    }
    expect(hits.filter((name) => name === 'one').length).toBeGreaterThan(1);
    expect(hits.filter((name) => name === 'two').length).toBeGreaterThan(1);
  });

  test('a read that one is unavailable for is answered by the other; a write and a lone 503 are passed on', async () => {
    const lacking = await upstream((_, response) => {
      response.writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '7' }).end('{}');
    });
    const well = await upstream((_, response) => response.end('well'));
    const door = await gateway({ upstreams: { chat: `${lacking.url},${well.url}`, content: lacking.url } });
    for (let turn = 0; turn < 12; turn++) {
      const reply = await fetch(`${door.url}/api/chat/rooms`, { headers: BEARER });
      expect([reply.status, await reply.text()]).toEqual([200, 'well']);
    }
    expect(lacking.requests.length).toBeGreaterThan(0);
    expect((await fetch(`${door.url}/api/chat/rooms`, { method: 'HEAD', headers: BEARER })).status).toBe(200);
    const alone = await fetch(`${door.url}/api/content/lessons/1`, { headers: BEARER });
    expect([alone.status, alone.headers.get('retry-after')]).toEqual([503, '7']);
    const asked = well.requests.length;
    const writes = await Promise.all(
      Array.from({ length: 20 }, () =>
        fetch(`${door.url}/api/chat/rooms`, { method: 'POST', headers: BEARER, body: '{}' }),
      ),
    );
    const passed = writes.filter(({ status }) => status === 200).length;
    expect(well.requests.length - asked).toBe(passed);
  });

  test('a read that one was slow to answer and the other broke off is answered by the slow one', async () => {
    const slow = await upstream((_, response) => void setTimeout(() => response.end('slow'), 400));
    const broken = await upstream((request) => request.socket.destroy());
    const door = await gateway({
      upstreams: { chat: `${slow.url},${broken.url}` },
      routes: ROUTES.map((route) => ({ ...route, tryMs: 100 })),
    });
    for (let turn = 0; turn < 6; turn++) {
      const reply = await fetch(`${door.url}/api/chat/rooms`, { headers: BEARER });
      expect(await reply.text()).toBe('slow');
    }
    expect(broken.requests.length).toBeGreaterThan(0);
  });

  test('nobody there: 503 with Retry-After, and a streamed upload keeps its bytes for the next', async () => {
    const content = await upstream((request, response) => {
      let size = 0;
      request
        .on('data', (chunk: Buffer) => (size += chunk.byteLength))
        .on('end', () => response.end(String(size)));
    });
    const door = await gateway({ upstreams: { content: `${NOBODY},${content.url}` } });
    const down = await fetch(`${door.url}/api/chat/rooms`, { headers: BEARER });
    expect(down.status).toBe(503);
    expect(down.headers.get('retry-after')).toBe('1');
    expect(((await down.json()) as { code: string }).code).toBe('upstream-unavailable');
    for (let turn = 0; turn < 3; turn++) {
      const up = await fetch(`${door.url}/api/content/files`, {
        method: 'POST',
        headers: BEARER,
        body: 'x'.repeat(300_000),
      });
      expect(await up.text()).toBe('300000');
    }
  });
});

describe('time', () => {
  test('a service that says nothing: 504, and it is let go', async () => {
    let left = false;
    const chat = await upstream((_, response) => void response.on('close', () => (left = true)));
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { firstByteMs: 100 } });
    const reply = await fetch(`${door.url}/api/chat/rooms`, { headers: BEARER });
    expect(reply.status).toBe(504);
    await eventually(() => left, 1_000);
  });

  test('a service that stops in the middle of its reply is given up on', async () => {
    const content = await upstream(
      (_, response) => void response.writeHead(200, { 'content-length': '1000' }).write('abc'),
    );
    const door = await gateway({ upstreams: { content: content.url }, timings: { idleMs: 100 } });
    const { closed } = await sendRaw(
      door.port,
      'GET /api/content/files/1/content HTTP/1.1\r\nHost: a\r\n\r\n',
      2_000,
    );
    expect(closed).toBe(true);
  });

  test('a JSON body that dribbles: 408, and the service never hears of it', async () => {
    const chat = await upstream((_, response) => response.end());
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { jsonBodyMs: 150, lingerMs: 50 } });
    const { text, closed } = await sendRaw(
      door.port,
      `POST /api/chat/rooms HTTP/1.1\r\nHost: a\r\n${auth}Content-Length: 100\r\n\r\n{`,
      2_000,
    );
    expect(text).toStartWith('HTTP/1.1 408');
    expect(closed).toBe(true);
    expect(chat.requests).toHaveLength(0);
  });

  test('an upload below the least rate is cut; a slow one above it passes', async () => {
    const content = await upstream((request, response) => {
      let size = 0;
      request
        .on('data', (chunk: Buffer) => (size += chunk.byteLength))
        .on('end', () => response.end(String(size)));
    });
    const door = await gateway({
      upstreams: { content: content.url },
      timings: { uploadWindowMs: 300, uploadBytesPerSecond: 1_000, lingerMs: 50 },
    });
    const upload = (bytesEach: number, pieces: number) =>
      new Promise<string>((resolve) => {
        const socket = connect(door.port, '127.0.0.1');
        let text = '';
        socket.on('data', (chunk) => (text += chunk)).on('error', () => {});
        socket.on('close', () => resolve(text));
        socket.write(
          `POST /api/content/files HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${auth}Content-Length: ${bytesEach * pieces}\r\n\r\n`,
        );
        let sent = 0;
        const timer = setInterval(() => {
          if (sent++ >= pieces || socket.destroyed) clearInterval(timer);
          else socket.write('x'.repeat(bytesEach));
        }, 50);
      });
    const [slow, honest] = await Promise.all([upload(1, 60), upload(200, 20)]);
    expect(slow).toStartWith('HTTP/1.1 408');
    expect(honest).toStartWith('HTTP/1.1 200');
    expect(honest).toEndWith('4000');
  });

  test('a client that reads nothing is cut off and frees the service', async () => {
    let left = false;
    let written = 0;
    const content = await upstream((_, response) => {
      response.writeHead(200, { 'content-length': String(500 * MiB) });
      const push = (): void => {
        while (!response.destroyed && written < 500 * MiB) {
          written += 65_536;
          if (!response.write(Buffer.alloc(65_536))) return void response.once('drain', push);
        }
      };
      response.on('close', () => (left = true));
      push();
    });
    const door = await gateway({ upstreams: { content: content.url }, timings: { stallMs: 300 } });
    const socket = connect(door.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.on('connect', () => {
      socket.pause();
      socket.write('GET /api/content/files/1/content HTTP/1.1\r\nHost: a\r\n\r\n');
    });
    await eventually(() => left, 4_000);
    expect(written / MiB).toBeLessThan(100);
    socket.destroy();
  });

  test('a reply may take longer than any idle timeout as long as it moves', async () => {
    const content = await upstream((_, response) => {
      response.writeHead(200, { 'content-length': '20' });
      let left = 20;
      const timer = setInterval(() => {
        response.write('x');
        if (--left === 0) {
          clearInterval(timer);
          response.end();
        }
      }, 40);
    });
    const door = await gateway({
      upstreams: { content: content.url },
      timings: { idleMs: 200, stallMs: 200, firstByteMs: 200 },
    });
    const reply = await fetch(`${door.url}/api/content/files/1/content`);
    expect((await reply.text()).length).toBe(20);
  });

  test('300 downloads that stand still do not hold up a JSON call', async () => {
    const content = await upstream(
      (_, response) => void response.writeHead(200, { 'content-length': '1000' }).write('a'),
    );
    const chat = await upstream((_, response) => response.end('{}'));
    const door = await gateway({ upstreams: { content: content.url, chat: chat.url } });
    const held = Array.from({ length: 300 }, () => {
      const socket = connect(door.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.write('GET /api/content/files/1/content HTTP/1.1\r\nHost: a\r\n\r\n');
      return socket;
    });
    await eventually(() => content.requests.length === 300);
    const started = performance.now();
    expect((await fetch(`${door.url}/api/chat/rooms`, { headers: BEARER })).status).toBe(200);
    expect(performance.now() - started).toBeLessThan(1_000);
    for (const socket of held) socket.destroy();
    await sleep(50);
  });
});

describe('framing', () => {
  test('lengths, ranges, 204, 304 and HEAD come through as they are', async () => {
    const content = await upstream((request, response) => {
      if (request.url === '/api/content/files/range/content') {
        response
          .writeHead(206, { 'content-range': 'bytes 0-4/10', 'content-length': '5', etag: '"t"' })
          .end(`${request.headers.range}`.slice(0, 5));
      } else if (request.url === '/api/content/files/same/content')
        response.writeHead(304, { etag: '"t"' }).end();
      else if (request.method === 'HEAD')
        response.writeHead(200, { 'content-length': '777', 'accept-ranges': 'bytes' }).end();
      else if (request.method === 'DELETE') response.writeHead(204).end();
      else
        response
          .writeHead(302, {
            location: 'http://elsewhere/',
            'set-cookie': ['a=1', 'b=2'],
            'content-length': '0',
          })
          .end();
    });
    const door = await gateway({ upstreams: { content: content.url } });
    const range = await fetch(`${door.url}/api/content/files/range/content`, {
      headers: { range: 'bytes=0-4' },
    });
    expect([range.status, await range.text(), range.headers.get('content-range')]).toEqual([
      206,
      'bytes',
      'bytes 0-4/10',
    ]);
    const same = await fetch(`${door.url}/api/content/files/same/content`);
    expect([same.status, same.headers.get('etag')]).toEqual([304, '"t"']);
    const head = await sendRaw(
      door.port,
      'HEAD /api/content/files/1/content HTTP/1.1\r\nHost: a\r\n\r\n',
      300,
    );
    expect(head.text.toLowerCase()).toContain('content-length: 777');
    expect(head.text).toEndWith('\r\n\r\n');
    const gone = await fetch(`${door.url}/api/content/files/1`, { method: 'DELETE', headers: BEARER });
    expect(gone.status).toBe(204);
    const moved = await fetch(`${door.url}/api/content/courses`, { redirect: 'manual' });
    expect([moved.status, moved.headers.get('location')]).toEqual([302, 'http://elsewhere/']);
    expect(moved.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
  });

  test('compressed bodies pass untouched', async () => {
    const zipped = Bun.gzipSync('hello hello hello');
    const content = await upstream((_, response) =>
      response
        .writeHead(200, { 'content-encoding': 'gzip', 'content-length': String(zipped.byteLength) })
        .end(zipped),
    );
    const door = await gateway({ upstreams: { content: content.url } });
    const reply = await fetch(`${door.url}/api/content/courses`, { decompress: false } as RequestInit);
    expect(Buffer.from(await reply.arrayBuffer())).toEqual(Buffer.from(zipped));
    expect(reply.headers.get('content-encoding')).toBe('gzip');
  });

  test('"100 Continue" comes when the upload may begin', async () => {
    const content = await upstream((request, response) => {
      request.resume().on('end', () => response.end('done'));
    });
    const door = await gateway({ upstreams: { content: content.url } });
    const socket = connect(door.port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => (text += chunk));
    socket.write(
      `POST /api/content/files HTTP/1.1\r\nHost: a\r\n${auth}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n`,
    );
    await eventually(() => text.includes('100 Continue'));
    socket.write('abc');
    await eventually(() => text.includes('200 OK'));
    socket.destroy();
  });
});
