import { afterEach, describe, expect, test } from 'bun:test';
import { eventually } from '../../gateway/testing.ts';
import { only } from './messages.ts';
import {
  answering,
  DOWNLOAD_PATH,
  get,
  HOST,
  JSON_PATH,
  ok,
  post,
  type RawClient,
  startedOnWire,
  UPLOAD_PATH,
  type UpstreamPeer,
} from './wire.ts';

/**
 * Services that break, lie or are taken over: whatever comes from one, a client gets the reply to its own request, a
 * clear refusal, or a connection that visibly broke off.
 */

const { stopAll, rawUpstream, gateway, client } = startedOnWire();
afterEach(stopAll);

/** What would be an answer to the next request, if anybody took it for one. */
const POISON = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Poison: 1\r\n\r\npoison';

async function refusal(one: RawClient, request: string): Promise<[number, string]> {
  const reply = await one.ask(request);
  return [reply.status, JSON.parse(String(reply.body)).code];
}

describe('bytes behind a reply belong to nobody', () => {
  const replies: Record<string, [request: string, reply: string, body: string]> = {
    'a length': [get(JSON_PATH), 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood', 'good'],
    'a length of 0': [get(JSON_PATH), 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', ''],
    chunks: [
      get(JSON_PATH),
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n',
      'good',
    ],
    '204': [get(JSON_PATH), 'HTTP/1.1 204 No Content\r\n\r\n', ''],
    '304': [get(JSON_PATH), 'HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n', ''],
    HEAD: [
      `HEAD ${DOWNLOAD_PATH} HTTP/1.1\r\n${HOST}\r\n`,
      'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n',
      '',
    ],
  };
  for (const [name, [request, reply, body]] of Object.entries(replies)) {
    for (const apart of [false, true]) {
      test(`${name}, ${apart ? 'a moment later' : 'in one piece'}`, async () => {
        const any = await rawUpstream(async (peer, index) => {
          await peer.request();
          if (index > 0) return peer.send(ok('its own'));
          await peer.send(apart ? reply : reply + POISON);
          if (!apart) return;
          await Bun.sleep(60);
          await peer.send(POISON);
        });
        const door = await gateway({ upstreams: { chat: any.url, content: any.url } });
        const one = await client(door.port);
        const first = await one.ask(request);
        expect([String(first.body), only(first.headers, 'x-poison')]).toEqual([body, undefined]);
        if (apart) await Bun.sleep(120);
        const second = await one.ask(request.startsWith('HEAD') ? get(DOWNLOAD_PATH) : get(JSON_PATH));
        expect([second.status, String(second.body), any.peers.length]).toEqual([200, 'its own', 2]);
        await any.peers[0]!.ended(1_000);
      });
    }
  }

  test('a reply that nobody asked for, on a connection that waits', async () => {
    const chat = await rawUpstream(
      answering(async ({ target }, peer) => {
        if (target.includes('first')) setTimeout(() => void peer.send(POISON), 50);
        return ok(target);
      }),
    );
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    await one.ask(get(`${JSON_PATH}?first`));
    await Bun.sleep(120);
    expect(String((await one.ask(get(`${JSON_PATH}?second`))).body)).toBe(`${JSON_PATH}?second`);
  });

  test('many clients at once, every third reply with poison behind it: each gets its own', async () => {
    let count = 0;
    const chat = await rawUpstream(
      answering(({ target }) => Buffer.concat([ok(target), Buffer.from(++count % 3 === 0 ? POISON : '')])),
    );
    const door = await gateway({ upstreams: { chat: chat.url } });
    const wrong: string[] = [];
    await Promise.all(
      Array.from({ length: 20 }, async (_, who) => {
        const one = await client(door.port);
        for (let turn = 0; turn < 30; turn++) {
          const target = `${JSON_PATH}?n=${who}-${turn}`;
          const reply = await one.ask(get(target));
          if (reply.status !== 200 || String(reply.body) !== target) wrong.push(`${target}: ${reply.raw}`);
        }
      }),
    );
    expect(wrong.slice(0, 3)).toEqual([]);
  });
});

describe('what is no reply: 502, and nothing of it passes', () => {
  const H = 'HTTP/1.1 200 OK\r\n';
  const cases: Record<string, string> = {
    'other text': 'SSH-2.0-OpenSSH_9.2\r\n\r\n',
    'HTTP/2': 'HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n',
    'HTTP/0.9': '<html>hello</html>\r\n\r\n',
    'a status of four digits': 'HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n',
    'a status below 100': 'HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n',
    'a status that is no number': 'HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n',
    'a name with a space before its colon': `${H}Content-Length : 0\r\n\r\n`,
    'a line without a colon': `${H}Content-Length 0\r\n\r\n`,
    'a folded line': `${H}X-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n`,
    'a line feed alone': `${H}X-A: 1\nSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n`,
    'a carriage return alone (response splitting)': `${H}X-A: 1\rSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n`,
    'a NUL in a value': `${H}X-A: 1\0Set-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n`,
    'a carriage return in the reason': 'HTTP/1.1 200 O\rK: evil\r\nContent-Length: 0\r\n\r\n',
    'a control character in a name': `${H}X-\x01: evil\r\nContent-Length: 0\r\n\r\n`,
    'two lengths': `${H}Content-Length: 0\r\nContent-Length: 5\r\n\r\nevil!`,
    'two lengths alike': `${H}Content-Length: 4\r\nContent-Length: 4\r\n\r\nevil`,
    'a list of lengths': `${H}Content-Length: 4, 4\r\n\r\nevil`,
    'a length that is none': `${H}Content-Length: -1\r\n\r\nevil`,
    'length and chunks': `${H}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n`,
    'an unknown coding': `${H}Transfer-Encoding: gzip\r\n\r\nevil`,
    'gzip under chunks': `${H}Transfer-Encoding: gzip, chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n`,
    'chunks in HTTP/1.0': 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n',
    '204 with a length': 'HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil',
    '204 with chunks': 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n',
    '103 with a length': `HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nevil${ok()}`,
    '101 that nobody asked for':
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\nConnection: Upgrade\r\n\r\nevil',
    'a head of 17 KiB': `${H}X-Evil: ${'e'.repeat(17_000)}\r\nContent-Length: 0\r\n\r\n`,
    '101 header lines': `${H}${'X-Evil: 1\r\n'.repeat(101)}Content-Length: 0\r\n\r\n`,
    'a head without an end': `${H}X-Evil: ${'e'.repeat(2_000_000)}`,
  };
  for (const [name, bytes] of Object.entries(cases)) {
    test(name, async () => {
      const chat = await rawUpstream(async (peer) => {
        await peer.request();
        await peer.send(bytes);
      });
      const door = await gateway({ upstreams: { chat: chat.url } });
      const one = await client(door.port);
      for (const request of [get(JSON_PATH), post(JSON_PATH, 'Content-Length: 2\r\n', '{}')]) {
        const reply = await one.ask(request);
        expect([reply.status, JSON.parse(String(reply.body)).code]).toEqual([502, 'bad-gateway']);
        expect(reply.raw.toString('latin1').toLowerCase()).not.toContain('evil');
      }
      // A write is never said twice.
      expect(chat.requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
      // The client did nothing wrong: its connection is as good as before.
      expect((await one.ask(get('/healthz'))).status).toBe(200);
      for (const peer of chat.peers) await peer.ended(2_000);
    });
  }

  test('a head of 16 KiB passes', async () => {
    const chat = await rawUpstream(answering(() => ok('{}', `X-Large: ${'e'.repeat(16_200)}\r\n`)));
    const door = await gateway({ upstreams: { chat: chat.url } });
    const reply = await (await client(door.port)).ask(get(JSON_PATH));
    expect([reply.status, only(reply.headers, 'x-large')?.length]).toEqual([200, 16_200]);
  });

  test('hints without an end are ended by the time for a first byte', async () => {
    const chat = await rawUpstream(async (peer) => {
      await peer.request();
      while (!peer.ending) {
        await peer.send('HTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n'.repeat(100));
        await Bun.sleep(5);
      }
    });
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { firstByteMs: 300 } });
    const one = await client(door.port);
    await one.send(get(JSON_PATH));
    let reply = await one.reply();
    while (reply.status === 103) reply = await one.reply();
    expect(reply.status).toBe(504);
    await chat.peers[0]!.ended(1_000);
  });
});

describe('a reply that breaks off', () => {
  type Break = (peer: UpstreamPeer) => void;
  const breaks: Record<string, Break> = {
    'a reset': (peer) => peer.reset(),
    'a close': (peer) => peer.close(),
    'a half-close': (peer) => peer.halfClose(),
  };

  for (const [how, act] of Object.entries(breaks)) {
    for (const [where, bytes] of [
      ['before its head', ''],
      ['within its head', 'HTTP/1.1 200 OK\r\nContent-Le'],
      ['behind 103', 'HTTP/1.1 103 Early Hints\r\n\r\n'],
    ]) {
      test(`${how} ${where}: a read is tried again, a write is 502, with a key it is tried again too`, async () => {
        let broken = 0;
        const chat = await rawUpstream(async (peer) => {
          for (let request = await peer.request(); request; request = await peer.request()) {
            if (broken++ % 2 === 0) {
              if (bytes !== '') await peer.send(bytes!);
              await Bun.sleep(20);
              return act(peer);
            }
            await peer.send(ok('again'));
          }
        });
        const door = await gateway({ upstreams: { chat: chat.url } });
        const one = await client(door.port);
        const final = async (request: string) => {
          let reply = await one.ask(request);
          while (reply.status < 200) reply = await one.reply();
          return reply;
        };
        expect(String((await final(get(JSON_PATH))).body)).toBe('again');
        expect(broken).toBe(2);
        const write = await final(post(JSON_PATH, 'Content-Length: 2\r\n', '{}'));
        expect([write.status, JSON.parse(String(write.body)).code]).toEqual([502, 'bad-gateway']);
        expect(broken).toBe(3);
        broken = 0;
        const keyed = await final(post(JSON_PATH, 'Idempotency-Key: k1\r\nContent-Length: 2\r\n', '{}'));
        expect([keyed.status, String(keyed.body), broken]).toEqual([200, 'again', 2]);
      });
    }

    for (const [framing, bytes] of [
      ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc'],
      ['chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'],
      ['a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc'],
    ]) {
      test(`${how} within the body of ${framing}: the client sees that it is not whole`, async () => {
        const content = await rawUpstream(async (peer) => {
          await peer.request();
          await peer.send(bytes!);
          await Bun.sleep(50);
          act(peer);
        });
        const door = await gateway({ upstreams: { content: content.url } });
        const one = await client(door.port);
        await one.send(get(DOWNLOAD_PATH));
        expect(await one.ended(1_500)).toBe('reset');
        expect(one.text).toContain('abc');
        expect(one.text).not.toContain('\r\n0\r\n');
        expect(content.requests).toHaveLength(1);
      });
    }
  }

  test('chunks that are malformed break the reply off', async () => {
    for (const tail of [
      'zz\r\nevil\r\n0\r\n\r\n',
      '4\nevil\n0\n\n',
      '3\r\nevil\r\n0\r\n\r\n',
      `${'0'.repeat(30)}4\r\nevil`,
    ]) {
      const content = await rawUpstream(async (peer) => {
        await peer.request();
        await peer.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
        await Bun.sleep(30);
        await peer.send(tail);
      });
      const door = await gateway({ upstreams: { content: content.url } });
      const one = await client(door.port);
      await one.send(get(DOWNLOAD_PATH));
      expect([tail, await one.ended(1_500)]).toEqual([tail, 'reset']);
      expect(one.text).not.toContain('\r\n0\r\n');
      await content.peers[0]!.ended(1_000);
    }
  });

  test('a service that breaks off during an upload: the client hears of it at once', async () => {
    for (const act of Object.values(breaks)) {
      const content = await rawUpstream(async (peer) => {
        await peer.until('some bytes');
        act(peer);
      });
      const door = await gateway({ upstreams: { content: content.url }, timings: { lingerMs: 50 } });
      const one = await client(door.port);
      await one.send(post(UPLOAD_PATH, 'Content-Length: 1000000\r\n', 'some bytes'));
      const reply = await one.reply('POST', 1_500);
      expect([reply.status, only(reply.headers, 'connection')]).toEqual([502, 'close']);
      expect(content.requests).toHaveLength(0);
    }
  });

  test('a service that closes after its reply although it did not say so', async () => {
    const chat = await rawUpstream(async (peer) => {
      await peer.request();
      await peer.send(ok('whole'));
      peer.halfClose();
    });
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    for (let turn = 0; turn < 5; turn++) expect(String((await one.ask(get(JSON_PATH))).body)).toBe('whole');
  });
});

describe('kept connections that have gone stale', () => {
  test('a service that closes waiting connections costs no read and no write', async () => {
    const chat = await rawUpstream(async (peer) => {
      for (let request = await peer.request(); request; request = await peer.request()) {
        await peer.send(ok());
        setTimeout(() => peer.close(), 30);
      }
    });
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    for (let turn = 0; turn < 6; turn++) {
      expect((await one.ask(get(JSON_PATH))).status).toBe(200);
      expect((await one.ask(post(JSON_PATH, 'Content-Length: 2\r\n', '{}'))).status).toBe(200);
      await Bun.sleep(60);
    }
  });

  test('a service that closes just as the next request comes: no read fails, whatever the timing', async () => {
    // Each connection dies some moment after its reply: before, while or after the next request is on its way.
    const chat = await rawUpstream(async (peer, index) => {
      for (let request = await peer.request(); request; request = await peer.request()) {
        await peer.send(ok(request.target));
        const wait = index % 5;
        if (wait === 0) return peer.close();
        if (wait === 1) return setTimeout(() => peer.reset(), 0);
        if (wait === 2) return setTimeout(() => peer.close(), 1);
        if (wait === 3) return void peer.request().then(() => peer.reset());
      }
    });
    const door = await gateway({ upstreams: { chat: chat.url }, env: { UPSTREAM_CHECK_MS: '0' } });
    const failed: string[] = [];
    await Promise.all(
      Array.from({ length: 10 }, async (_, who) => {
        const one = await client(door.port);
        for (let turn = 0; turn < 40; turn++) {
          const target = `${JSON_PATH}?n=${who}-${turn}`;
          const reply = await one.ask(get(target));
          if (reply.status !== 200 || String(reply.body) !== target)
            failed.push(`${reply.status} ${reply.body}`);
          await Bun.sleep(turn % 3);
        }
      }),
    );
    expect(failed.slice(0, 3)).toEqual([]);
  });

  test('an unused connection is given up before the service would', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { upstreamKeepAliveMs: 200 } });
    const one = await client(door.port);
    await one.ask(get(JSON_PATH));
    await chat.peers[0]!.ended(1_500);
    expect((await one.ask(get(JSON_PATH))).status).toBe(200);
  });

  test('the time of an unused connection ends when it is used: a long upload on it passes', async () => {
    const content = await rawUpstream(answering(({ body }) => ok(String(body.byteLength))));
    const door = await gateway({
      upstreams: { content: content.url },
      timings: { upstreamKeepAliveMs: 300 },
    });
    const one = await client(door.port);
    await one.ask(get(DOWNLOAD_PATH));
    await one.send(post(UPLOAD_PATH, 'Content-Length: 20\r\n'));
    for (let turn = 0; turn < 20; turn++) {
      await one.send('x');
      await Bun.sleep(50);
    }
    const reply = await one.reply('POST');
    expect([reply.status, String(reply.body), content.peers.length]).toEqual([200, '20', 1]);
  });
});

describe('what a service that is slow costs', () => {
  test('says nothing: 504 and it is let go; reads nothing of an upload: 504 too', async () => {
    const any = await rawUpstream(async (peer) => {
      peer.socket.pause();
      await peer.ended(60_000).catch(() => {});
    });
    const door = await gateway({
      upstreams: { chat: any.url, content: any.url },
      timings: { firstByteMs: 200, stallMs: 300, lingerMs: 50, uploadWindowMs: 60_000 },
    });
    const one = await client(door.port);
    expect(await refusal(one, get(JSON_PATH))).toEqual([504, 'upstream-timeout']);
    const two = await client(door.port);
    void two.send(
      Buffer.concat([
        Buffer.from(post(UPLOAD_PATH, 'Content-Length: 40000000\r\n')),
        Buffer.alloc(30_000_000),
      ]),
    );
    const reply = await two.reply('POST', 5_000);
    expect([reply.status, JSON.parse(String(reply.body)).code]).toEqual([504, 'upstream-timeout']);
    await eventually(() => any.peers.length === 2);
  });

  test('stops within its reply: broken off', async () => {
    const content = await rawUpstream(async (peer) => {
      await peer.request();
      await peer.send('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc');
    });
    const door = await gateway({ upstreams: { content: content.url }, timings: { idleMs: 150 } });
    const one = await client(door.port);
    await one.send(get(DOWNLOAD_PATH));
    expect(await one.ended(1_500)).toBe('reset');
    await content.peers[0]!.ended(1_000);
  });
});
