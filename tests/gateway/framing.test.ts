import { afterEach, describe, expect, test } from 'bun:test';
import { gzipSync } from 'node:zlib';
import { only, type ResponseMessage, valuesOf } from './messages.ts';
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
} from './wire.ts';

/** What one message looks like on the wire on both sides of the gateway (RFC 9110, RFC 9112). */

const { stopAll, rawUpstream, gateway, client } = startedOnWire();
afterEach(stopAll);

/** Everything that is different in each run, replaced. */
const steady = (head: string): string =>
  head
    .replace(/^(x-request-id: ).+(?=\r\n)/m, '$1ID')
    .replace(/^(traceparent: ).+(?=\r\n)/m, '$1TRACE')
    .replace(/^(host: ).+(?=\r\n)/m, '$1UPSTREAM');

const sample = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 7 + (index >> 8)) & 255));

describe('a request, as the service gets it', () => {
  test('byte for byte: nothing of the client that is not named here, and nothing twice', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    await one.ask(
      'GET /api/chat/rooms?limit=2&q=%C3%A9 HTTP/1.1\r\nHOST: school.example:8080\r\n' +
        'authorization: Bearer good\r\nX-Mixed-Case:  padded \t \r\nX-Empty:\r\nX-Twice: 1\r\nX-Twice: 2\r\n' +
        'Accept-Encoding: gzip, br\r\nCookie: a=b; c=d\r\nX-Latin: caf\xe9\r\n\r\n',
    );
    expect(steady(chat.requests[0]!.raw.toString('latin1'))).toBe(
      'GET /api/chat/rooms?limit=2&q=%C3%A9 HTTP/1.1\r\nhost: UPSTREAM\r\nauthorization: Bearer good\r\n' +
        'x-mixed-case: padded\r\nx-empty: \r\nx-twice: 1\r\nx-twice: 2\r\naccept-encoding: gzip, br\r\n' +
        'cookie: a=b; c=d\r\nx-latin: caf\xe9\r\nx-request-id: ID\r\ntraceparent: TRACE\r\n' +
        'x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: school.example:8080\r\n\r\n',
    );
  });

  test('bodies: JSON comes whole with its length, an upload as it was framed, none has length 0', async () => {
    const any = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: any.url, content: any.url } });
    const one = await client(door.port);
    const chunks = '3;a=b\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n';
    for (const path of [JSON_PATH, UPLOAD_PATH]) {
      await one.ask(post(path, 'Content-Length: 7\r\n', 'abcdefg'));
      await one.ask(post(path, 'Transfer-Encoding: Chunked\r\n', chunks));
      await one.ask(post(path, ''));
    }
    expect(any.requests.map(({ framing, body }) => `${framing} ${body}`)).toEqual([
      'length abcdefg',
      'length abcdefg',
      'length ',
      'length abcdefg',
      'chunked abcdefg',
      'length ',
    ]);
    // One for each service: every reply left its connection as it should be.
    expect(any.peers).toHaveLength(2);
    expect(any.faults).toEqual([]);
  });

  test('headers of one hop end here, whoever names them; what we say ourselves stays', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    await one.ask(
      get(
        JSON_PATH,
        'Connection: X-Secret , x-other\r\nConnection: keep-alive, host, x-forwarded-for, x-request-id, traceparent\r\n' +
          'X-Secret: 1\r\nX-Other: 2\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n' +
          'Trailer: X-T\r\nProxy-Authorization: Basic eDp5\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nX-Stays: 3\r\n',
      ),
    );
    const names = chat.requests[0]!.headers.map(([name]) => name);
    expect(names).toEqual([
      'host',
      'authorization',
      'x-stays',
      'x-request-id',
      'traceparent',
      'x-forwarded-for',
      'x-forwarded-proto',
      'x-forwarded-host',
    ]);
  });

  test('Forwarded and Via as configured, once, and not believed from the client', async () => {
    const chat = await rawUpstream(answering(() => ok('{}', 'Via: 1.1 inner\r\n')));
    const lines =
      'Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nVia: 1.0 fred\r\nVia: 1.1 p.example\r\n';
    for (const [mode, xForwarded, forwarded] of [
      ['x-forwarded', '127.0.0.1', undefined],
      ['forwarded', undefined, 'for=127.0.0.1;proto=http;host="school.example"'],
      ['both', '127.0.0.1', 'for=127.0.0.1;proto=http;host="school.example"'],
    ] as const) {
      const door = await gateway({
        upstreams: { chat: chat.url },
        env: { FORWARDED_HEADERS: mode, VIA: 'lyceum' },
      });
      const one = await client(door.port);
      const reply = await one.ask(get(JSON_PATH, lines));
      const { headers } = chat.requests.at(-1)!;
      expect([
        mode,
        only(headers, 'x-forwarded-for'),
        only(headers, 'forwarded'),
        only(headers, 'via'),
      ]).toEqual([mode, xForwarded, forwarded, '1.0 fred, 1.1 p.example, 1.1 lyceum']);
      expect(only(reply.headers, 'via')).toBe('1.1 inner, 1.1 lyceum');
    }
    const door = await gateway({ upstreams: { chat: chat.url } });
    const silent = await (await client(door.port)).ask(get(JSON_PATH, lines));
    expect(valuesOf(chat.requests.at(-1)!.headers, 'via')).toEqual(['1.0 fred', '1.1 p.example']);
    expect(valuesOf(silent.headers, 'via')).toEqual(['1.1 inner']);
  });

  test('one path for the rule and for the service: escapes and dots normalised once', async () => {
    const any = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: any.url } });
    const one = await client(door.port);
    for (const [asked, seen] of [
      ['/api/chat/%72ooms', '/api/chat/rooms'],
      ['/api/chat/x/../rooms?a=../b', '/api/chat/rooms?a=../b'],
      ['/api/chat/./rooms/.', '/api/chat/rooms/'],
      ['/api/chat/%2e%2e/chat/rooms', '/api/chat/rooms'],
      ['/api/%63hat/rooms', '/api/chat/rooms'],
      ['/api/chat/a%3ab%20c', '/api/chat/a%3Ab%20c'],
      ['/api/chat/100%2525', '/api/chat/100%2525'],
      ["/api/chat/a;b=c,d!$&'()*+@:", "/api/chat/a;b=c,d!$&'()*+@:"],
    ] as const) {
      const { status } = await one.ask(get(asked));
      expect([asked, status, any.requests.at(-1)?.target]).toEqual([asked, 200, seen]);
    }
  });

  test('empty lines before a request are skipped, wherever they are cut', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url } });
    for (const pieces of [
      ['\r\n', get(JSON_PATH)],
      ['\r', `\n${get(JSON_PATH)}`],
      ['\r\n\r', `\n${get(JSON_PATH)}`],
    ]) {
      const one = await client(door.port);
      for (const piece of pieces) {
        await one.send(piece);
        await Bun.sleep(30);
      }
      expect([pieces[0], (await one.reply()).status]).toEqual([pieces[0], 200]);
    }
    expect(chat.requests).toHaveLength(3);
  });
});

describe('Expect: 100-continue', () => {
  const lines = 'Expect: 100-continue\r\nContent-Length: 3\r\n';

  for (const path of [JSON_PATH, UPLOAD_PATH]) {
    test(`accepted on ${path}: one 100, then the reply; a 100 of the service's own is swallowed`, async () => {
      const any = await rawUpstream(async (peer) => {
        await peer.until('\r\n\r\n');
        await peer.send('HTTP/1.1 100 Continue\r\n\r\n');
        await peer.request();
        await peer.send(ok('done'));
      });
      const door = await gateway({ upstreams: { chat: any.url, content: any.url } });
      const one = await client(door.port);
      await one.send(post(path, lines));
      expect((await one.reply()).status).toBe(100);
      await one.send('abc');
      const reply = await one.reply();
      expect([reply.status, String(reply.body)]).toEqual([200, 'done']);
      expect(String(any.requests[0]!.body)).toBe('abc');
      expect(valuesOf(any.requests[0]!.headers, 'expect')).toEqual([]);
      expect(one.text).toBe('');
      expect(any.faults).toEqual([]);
    });
  }

  test('refused before the body: no 100, the service hears nothing, the connection ends', async () => {
    const content = await rawUpstream(answering(() => ok()));
    const door = await gateway({
      upstreams: { content: content.url, profile: content.url },
      timings: { lingerMs: 50 },
    });
    for (const [request, status] of [
      [`POST ${UPLOAD_PATH} HTTP/1.1\r\n${HOST}${lines}\r\n`, 401],
      [`POST ${UPLOAD_PATH} HTTP/1.1\r\n${HOST}Authorization: Bearer expired\r\n${lines}\r\n`, 401],
      [post('/api/content/x', 'Expect: 100-continue\r\nContent-Length: 9999999\r\n'), 413],
      [post('/api/none', lines), 404],
      [post(JSON_PATH, 'Expect: 200-ok\r\nContent-Length: 3\r\n'), 417],
    ] as const) {
      const one = await client(door.port);
      const reply = await one.ask(request);
      expect([reply.status, only(reply.headers, 'connection')]).toEqual([status, 'close']);
      expect(await one.ended()).toBe('end');
    }
    expect(content.peers).toHaveLength(0);
  });

  test('a service that refuses during the upload is heard at once', async () => {
    const content = await rawUpstream(async (peer) => {
      await peer.until('\r\n\r\n');
      await peer.send('HTTP/1.1 415 Unsupported Media Type\r\nContent-Length: 2\r\n\r\n{}');
    });
    const door = await gateway({ upstreams: { content: content.url }, timings: { lingerMs: 50 } });
    const one = await client(door.port);
    await one.send(post(UPLOAD_PATH, 'Expect: 100-continue\r\nContent-Length: 1000000\r\n'));
    expect((await one.reply()).status).toBe(100);
    const reply = await one.reply();
    expect([reply.status, only(reply.headers, 'connection')]).toEqual([415, 'close']);
    expect(await one.ended()).toBe('end');
  });

  test('who does not wait gets no 100 into its reply; HTTP/1.0 never gets one', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    expect((await one.ask(post(JSON_PATH, lines, 'abc'))).status).toBe(200);
    const old = await client(door.port);
    await old.send(`POST ${JSON_PATH} HTTP/1.0\r\n${AUTH}${lines}\r\n`);
    await Bun.sleep(50);
    expect(old.text).toBe('');
    await old.send('abc');
    expect((await old.reply()).status).toBe(200);
    expect(chat.requests.map(({ body }) => String(body))).toEqual(['abc', 'abc']);
  });
});

describe('replies without a body', () => {
  test('HEAD keeps the length that it tells of, and the connections on both sides live on', async () => {
    const content = await rawUpstream(
      answering(({ method }) =>
        method === 'HEAD' ? 'HTTP/1.1 200 OK\r\nContent-Length: 777\r\nETag: "a"\r\n\r\n' : ok('next'),
      ),
    );
    const door = await gateway({ upstreams: { content: content.url } });
    const one = await client(door.port);
    const head = await one.ask(`HEAD ${DOWNLOAD_PATH} HTTP/1.1\r\n${HOST}\r\n`);
    expect([head.status, only(head.headers, 'content-length'), only(head.headers, 'etag')]).toEqual([
      200,
      '777',
      '"a"',
    ]);
    expect(String((await one.ask(get(DOWNLOAD_PATH))).body)).toBe('next');
    expect(content.peers).toHaveLength(1);
  });

  test('HEAD to what would come in chunks', async () => {
    const content = await rawUpstream(
      answering(({ method }) =>
        method === 'HEAD' ? 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' : ok('next'),
      ),
    );
    const door = await gateway({ upstreams: { content: content.url } });
    const one = await client(door.port);
    expect((await one.ask(`HEAD ${DOWNLOAD_PATH} HTTP/1.1\r\n${HOST}\r\n`)).status).toBe(200);
    expect(String((await one.ask(get(DOWNLOAD_PATH))).body)).toBe('next');
    expect(content.peers).toHaveLength(1);
  });

  test('204 and 304 end with their head; 304 keeps the length of what it stands for', async () => {
    const content = await rawUpstream(
      answering(({ target }) =>
        target.includes('none')
          ? 'HTTP/1.1 204 No Content\r\n\r\n'
          : target.includes('same')
            ? 'HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: "a"\r\n\r\n'
            : ok('next'),
      ),
    );
    const door = await gateway({ upstreams: { content: content.url } });
    const one = await client(door.port);
    const none = await one.ask(get('/api/content/courses?none'));
    expect([none.status, valuesOf(none.headers, 'content-length')]).toEqual([204, []]);
    const same = await one.ask(get('/api/content/courses?same', 'If-None-Match: "a"\r\n'));
    expect([same.status, only(same.headers, 'content-length'), only(same.headers, 'etag')]).toEqual([
      304,
      '1234',
      '"a"',
    ]);
    expect(String((await one.ask(get('/api/content/courses'))).body)).toBe('next');
    expect(content.peers).toHaveLength(1);
  });

  test('a reply of length 0', async () => {
    const chat = await rawUpstream(answering(() => 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    for (let turn = 0; turn < 3; turn++) expect((await one.ask(get(JSON_PATH))).body.byteLength).toBe(0);
    expect(chat.peers).toHaveLength(1);
  });
});

describe('replies before the reply', () => {
  const hints =
    'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-H\r\nX-H: 1\r\n\r\n';

  test('103 passes, as often as it comes, without what is for one hop; 100 does not', async () => {
    const chat = await rawUpstream(
      answering(
        () => `${hints}HTTP/1.1 100 Continue\r\n\r\n${hints}HTTP/1.1 102 Processing\r\n\r\n${ok('end')}`,
      ),
    );
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    void one.send(get(JSON_PATH));
    const replies: ResponseMessage[] = [];
    for (let turn = 0; turn < 4; turn++) replies.push(await one.reply());
    expect(replies.map(({ status }) => status)).toEqual([103, 103, 102, 200]);
    expect(replies[0]!.headers).toEqual([['link', '</a.css>; rel=preload']]);
    expect(String(replies[3]!.body)).toBe('end');
  });

  test('comes at once, not with the reply', async () => {
    const chat = await rawUpstream(async (peer) => {
      await peer.request();
      await peer.send(hints);
      await peer.until('never', 300).catch(() => {});
      await peer.send(ok());
    });
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    await one.send(get(JSON_PATH));
    expect((await one.reply('GET', 200)).status).toBe(103);
    expect((await one.reply()).status).toBe(200);
  });

  test('an HTTP/1.0 client sees none', async () => {
    const chat = await rawUpstream(answering(() => `${hints}${ok('end')}`));
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    expect((await one.ask(`GET ${JSON_PATH} HTTP/1.0\r\n${AUTH}\r\n`)).status).toBe(200);
  });
});

describe('trailers', () => {
  test('pass up behind an upload in chunks, but for those that would decide about something', async () => {
    const content = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { content: content.url } });
    const one = await client(door.port);
    const trailers =
      'X-Digest: abc\r\nAuthorization: Bearer evil\r\nContent-Length: 5\r\nX-Forwarded-For: 6.6.6.6\r\nX-Request-Id: x\r\n' +
      'Transfer-Encoding: chunked\r\nHost: evil\r\nCookie: a=b\r\nX-User-Id: root\r\nX-More: 2\r\n';
    await one.ask(post(UPLOAD_PATH, 'Transfer-Encoding: chunked\r\n', `2\r\nab\r\n0\r\n${trailers}\r\n`));
    expect(content.requests[0]!.trailers).toEqual([
      ['x-digest', 'abc'],
      ['x-more', '2'],
    ]);
    expect(valuesOf(content.requests[0]!.headers, 'authorization')).toEqual(['Bearer good']);
    expect(content.faults).toEqual([]);
  });

  test('of a JSON body have nowhere to go: it is sent with its length', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    await one.ask(post(JSON_PATH, 'Transfer-Encoding: chunked\r\n', '2\r\n{}\r\n0\r\nX-Role: admin\r\n\r\n'));
    expect(valuesOf(chat.requests[0]!.headers, 'x-role')).toEqual([]);
    expect(String(chat.requests[0]!.body)).toBe('{}');
  });

  test('pass down behind a reply in chunks', async () => {
    const chat = await rawUpstream(
      answering(
        () =>
          'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\nSet-Cookie: a=b\r\n\r\n',
      ),
    );
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    const reply = await one.ask(get(JSON_PATH));
    expect([String(reply.body), reply.trailers]).toEqual(['abc', [['x-sum', '42']]]);
    expect((await one.ask(get(JSON_PATH))).status).toBe(200);
    expect(chat.peers).toHaveLength(1);
  });
});

describe('a reply, as the client gets it', () => {
  test('lengths are kept, chunks stay chunks, bytes are the same', async () => {
    const zipped = gzipSync(sample);
    const content = await rawUpstream(
      answering(({ target }) =>
        target.includes('zipped')
          ? ok(
              zipped,
              'Content-Encoding: gzip\r\nContent-Type: application/json\r\nVary: Accept-Encoding\r\n',
            )
          : target.includes('chunks')
            ? Buffer.concat([
                Buffer.from(
                  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${sample.byteLength.toString(16)}\r\n`,
                ),
                sample,
                Buffer.from('\r\n0\r\n\r\n'),
              ])
            : ok(sample, 'Content-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\n'),
      ),
    );
    const door = await gateway({ upstreams: { content: content.url } });
    const one = await client(door.port);
    const plain = await one.ask(get('/api/content/courses'));
    expect([plain.framing, plain.body.equals(sample)]).toEqual(['length', true]);
    const chunks = await one.ask(get('/api/content/courses?chunks'));
    expect([chunks.framing, chunks.body.equals(sample)]).toEqual(['chunked', true]);
    const small = await one.ask(get('/api/content/courses?zipped', 'Accept-Encoding: gzip, br, zstd\r\n'));
    expect([small.framing, small.body.equals(zipped), only(small.headers, 'content-encoding')]).toEqual([
      'length',
      true,
      'gzip',
    ]);
    expect(content.peers).toHaveLength(1);
  });

  test('headers of one hop and of our making end here; all else is as it was, in order', async () => {
    const chat = await rawUpstream(
      answering(() =>
        ok(
          '{}',
          'Set-Cookie: a=1\r\nX-One: \t1 \r\nSet-Cookie: b=2\r\nConnection: X-Secret, keep-alive\r\nX-Secret: 1\r\n' +
            'Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nTrailer: X\r\nServer: secret/1.0\r\n' +
            'X-Powered-By: x\r\nX-Request-Id: forged\r\nAccess-Control-Allow-Origin: *\r\nX-Latin: caf\xe9\r\nX-Empty:\r\n',
        ),
      ),
    );
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    const reply = await one.ask(get(JSON_PATH));
    expect(reply.headers.slice(0, 5)).toEqual([
      ['set-cookie', 'a=1'],
      ['x-one', '1'],
      ['set-cookie', 'b=2'],
      ['x-latin', 'caf\xe9'],
      ['x-empty', ''],
    ]);
    const names = reply.headers.map(([name]) => name);
    for (const gone of [
      'connection',
      'keep-alive',
      'proxy-authenticate',
      'upgrade',
      'trailer',
      'server',
      'x-secret',
    ])
      expect(names).not.toContain(gone);
    for (const gone of ['x-powered-by', 'access-control-allow-origin']) expect(names).not.toContain(gone);
    expect(only(reply.headers, 'x-request-id')).not.toBe('forged');
  });

  test('has a Date, of the service or of the moment (RFC 9110, 6.6.1)', async () => {
    const date = 'Tue, 15 Nov 1994 08:12:31 GMT';
    const chat = await rawUpstream(
      answering(({ target }) => ok('{}', target.includes('dated') ? `Date: ${date}\r\n` : '')),
    );
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    expect(only((await one.ask(get(`${JSON_PATH}?dated`))).headers, 'date')).toBe(date);
    const made = only((await one.ask(get(JSON_PATH))).headers, 'date');
    expect(Math.abs(Date.parse(made ?? '') - Date.now())).toBeLessThan(10_000);
  });

  test('that ends with its connection comes in chunks, and ours lives on', async () => {
    const chat = await rawUpstream(async (peer) => {
      await peer.request();
      await peer.send('HTTP/1.1 200 OK\r\n\r\nuntil ');
      await Bun.sleep(50);
      await peer.send('the end');
      peer.halfClose();
    });
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    for (let turn = 0; turn < 2; turn++) {
      const reply = await one.ask(get(JSON_PATH));
      expect([reply.framing, String(reply.body)]).toEqual(['chunked', 'until the end']);
    }
    expect(chat.peers).toHaveLength(2);
  });

  test('of an HTTP/1.0 service', async () => {
    const chat = await rawUpstream(async (peer, index) => {
      await peer.request();
      await peer.send(
        index === 0
          ? 'HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc'
          : 'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\ndef',
      );
      if (index > 0) {
        await peer.request();
        await peer.send('HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nghi');
      }
    });
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    const bodies: string[] = [];
    for (let turn = 0; turn < 3; turn++) bodies.push(String((await one.ask(get(JSON_PATH))).body));
    expect([bodies, chat.peers.length]).toEqual([['abc', 'def', 'ghi'], 2]);
  });
});

describe('limits of a head', () => {
  test('what cannot be read is refused with a code of its own, dated, with the headers of every reply', async () => {
    const door = await gateway({ timings: { lingerMs: 50 } });
    const cases: [string, number, string][] = [
      [get(JSON_PATH).replace('Host:', 'Hos t:'), 400, 'validation-failed'],
      [post(JSON_PATH, 'Expect: tea\r\n'), 417, 'expectation-failed'],
      [post(JSON_PATH, 'Transfer-Encoding: gzip, chunked\r\n'), 501, 'not-implemented'],
      [get(JSON_PATH).replace('HTTP/1.1', 'HTTP/1.3'), 505, 'http-version-not-supported'],
    ];
    for (const [request, status, code] of cases) {
      const { headers, body, ...reply } = await (await client(door.port)).ask(request);
      const problem = JSON.parse(String(body));
      expect([reply.status, problem.status, problem.code]).toEqual([status, status, code]);
      expect(only(headers, 'x-request-id')).toBe(problem.requestId);
      expect(Date.parse(only(headers, 'date') ?? '')).toBeGreaterThan(Date.now() - 60_000);
      expect(only(headers, 'content-security-policy')).toContain("default-src 'none'");
    }
  });

  test('a target of 8 KiB passes, a longer one is 414', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { lingerMs: 50 } });
    const target = (length: number): string => `${JSON_PATH}?q=`.padEnd(length, 'x');
    const one = await client(door.port);
    expect((await one.ask(get(target(8_192)))).status).toBe(200);
    expect(chat.requests[0]!.target).toBe(target(8_192));
    const reply = await one.ask(get(target(8_193)));
    expect([reply.status, JSON.parse(String(reply.body)).code]).toEqual([414, 'uri-too-long']);
    expect(await one.ended()).toBe('end');
    expect(chat.requests).toHaveLength(1);
  });

  test('16 KiB of head and 100 lines pass; one more of either is 431, told before it is all there', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { lingerMs: 50 } });
    const fitting = get(JSON_PATH, `X-A: ${'a'.repeat(16_384 - get(JSON_PATH, 'X-A: \r\n').length)}\r\n`);
    expect(fitting.length).toBe(16_384);
    const lines = (count: number): string => 'X-A: 1\r\n'.repeat(count - 2);
    for (const [request, status] of [
      [fitting, 200],
      [get(JSON_PATH, lines(100)), 200],
      [fitting.replace('X-A: a', 'X-A: aa'), 431],
      [get(JSON_PATH, lines(101)), 431],
      [`GET ${JSON_PATH} HTTP/1.1\r\nX-A: ${'a'.repeat(17_000)}`, 431],
    ] as const) {
      const one = await client(door.port);
      const reply = await one.ask(request);
      expect([request.length, reply.status]).toEqual([request.length, status]);
      if (status !== 431) continue;
      expect(JSON.parse(String(reply.body)).code).toBe('headers-too-large');
      expect(await one.ended()).toBe('end');
    }
    expect(chat.requests).toHaveLength(2);
  });
});

describe('HTTP/1.0 clients', () => {
  const old = (lines = ''): string => `GET ${JSON_PATH} HTTP/1.0\r\n${AUTH}${lines}\r\n`;
  const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n';

  test('without keep-alive: one reply, without chunks, then the end', async () => {
    const chat = await rawUpstream(
      answering(({ target }) => (target.includes('length') ? ok('abc') : chunked)),
    );
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { lingerMs: 50 } });
    for (const request of [old(), old().replace(' HTTP', '?length HTTP')]) {
      const one = await client(door.port);
      const reply = await one.ask(request);
      expect([reply.status, String(reply.body), await one.ended()]).toEqual([200, 'abc', 'end']);
    }
    expect(chat.peers).toHaveLength(1);
  });

  test('with keep-alive: told so, and the next request is answered, where the length is known', async () => {
    const chat = await rawUpstream(
      answering(({ target }) => (target.includes('chunks') ? chunked : ok('abc'))),
    );
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { lingerMs: 50 } });
    const one = await client(door.port);
    for (let turn = 0; turn < 2; turn++) {
      const reply = await one.ask(old('Connection: Keep-Alive\r\n'));
      expect([reply.framing, only(reply.headers, 'connection'), String(reply.body)]).toEqual([
        'length',
        'keep-alive',
        'abc',
      ]);
    }
    const last = await one.ask(old('Connection: Keep-Alive\r\n').replace(' HTTP', '?chunks HTTP'));
    expect([last.framing, String(last.body)]).toEqual(['until-close', 'abc']);
  });
});

describe('keep-alive and pipelining', () => {
  test('"close" is kept: one reply that says so, then the end; what follows is not answered', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { lingerMs: 50 } });
    const one = await client(door.port);
    const reply = await one.ask(get(JSON_PATH, 'Connection: close\r\n') + get(`${JSON_PATH}?second`));
    expect([reply.status, only(reply.headers, 'connection')]).toEqual([200, 'close']);
    expect(await one.ended()).toBe('end');
    expect([one.text, chat.requests.length]).toEqual(['', 1]);
  });

  test('of a gateway that stops: who is asking all the time gets a last reply that says so, who rests is let go', async () => {
    const chat = await rawUpstream(answering(() => ok()));
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { lingerMs: 50 } });
    const resting = await client(door.port);
    await resting.ask(get(JSON_PATH));
    await Bun.sleep(600);
    const busy = await client(door.port);
    await busy.ask(get(JSON_PATH));
    const stopped = door.stop(4_000);
    expect(await resting.ended(300)).toBe('end');
    const last = await busy.ask(get(JSON_PATH));
    expect([last.status, only(last.headers, 'connection')]).toEqual([200, 'close']);
    expect(await busy.ended()).toBe('end');
    await stopped;
  });

  test('requests sent at once are answered in their order, one after the other', async () => {
    let atATime = 0;
    let most = 0;
    const chat = await rawUpstream(
      answering(async ({ target, body }) => {
        most = Math.max(most, ++atATime);
        await Bun.sleep(Number(target.split('=')[1]) % 3 === 0 ? 15 : 0);
        atATime--;
        return ok(`${target} ${body}`);
      }),
    );
    const door = await gateway({ upstreams: { chat: chat.url } });
    const numbers = Array.from({ length: 60 }, (_, index) => index);
    const all = numbers.map((n) => {
      const target = `${JSON_PATH}?n=${n}`;
      if (n % 4 === 1) return post(target, 'Content-Length: 4\r\n', 'body');
      if (n % 4 === 2) return post(target, 'Transfer-Encoding: chunked\r\n', '4\r\nbody\r\n0\r\n\r\n');
      return n % 4 === 3 ? get('/healthz') : get(target);
    });
    for (const size of [100_000, 1, 7, 1_460]) {
      const one = await client(door.port);
      const bytes = Buffer.from(all.join(''), 'latin1');
      void (async () => {
        for (let at = 0; at < bytes.byteLength; at += size) {
          await one.send(bytes.subarray(at, at + size));
          if (size > 1 || at % 50 === 0) await Bun.sleep(0);
        }
      })();
      for (const n of numbers) {
        const body = String((await one.reply()).body);
        expect(body).toBe(
          n % 4 === 3 ? '{"status":"ok"}' : `${JSON_PATH}?n=${n} ${n % 4 === 0 ? '' : 'body'}`,
        );
      }
      expect(one.text).toBe('');
    }
    expect(most).toBe(1);
    expect(chat.faults).toEqual([]);
  });

  test('a reply that we give at once does not hold up what was sent behind its request', async () => {
    // No replica at all: the answer is there in the moment in which the body has ended.
    const door = await gateway({ env: { UPSTREAM_CHAT: 'dns+http://nowhere.invalid:80' } });
    const one = await client(door.port);
    const body = 'x'.repeat(5);
    await one.send(post(JSON_PATH, 'Content-Length: 5\r\n', body) + get('/healthz') + get('/api/none'));
    const statuses: number[] = [];
    for (let turn = 0; turn < 3; turn++) statuses.push((await one.reply('GET', 2_000)).status);
    expect(statuses).toEqual([503, 200, 404]);
  });

  test('requests behind a refusal that keeps the connection are answered, behind a malformed one are not', async () => {
    const door = await gateway({ timings: { lingerMs: 50 } });
    const one = await client(door.port);
    await one.send(get('/api/none') + get('/healthz') + get('/api/../../x') + get('/healthz'));
    const statuses: number[] = [];
    for (let turn = 0; turn < 3; turn++) statuses.push((await one.reply()).status);
    expect(statuses).toEqual([404, 200, 400]);
    expect([await one.ended(), one.text]).toEqual(['end', '']);
  });

  test('a client that closes its side after its request still gets its reply', async () => {
    const chat = await rawUpstream(
      answering(async () => {
        await Bun.sleep(100);
        return ok('abc');
      }),
    );
    const door = await gateway({ upstreams: { chat: chat.url } });
    const one = await client(door.port);
    await one.send(get(JSON_PATH));
    one.halfClose();
    expect(String((await one.reply()).body)).toBe('abc');
    expect(await one.ended()).toBe('end');
  });

  test('with a body too, that had come before', async () => {
    const any = await rawUpstream(
      answering(async ({ body }) => {
        await Bun.sleep(100);
        return ok(body);
      }),
    );
    const door = await gateway({ upstreams: { chat: any.url, content: any.url } });
    for (const path of [JSON_PATH, UPLOAD_PATH]) {
      for (const size of [3, 200_000]) {
        const one = await client(door.port);
        void one.send(post(path, `Content-Length: ${size}\r\n`, 'x'.repeat(size)));
        one.halfClose();
        expect([path, (await one.reply('POST')).body.byteLength]).toEqual([path, size]);
      }
    }
  });

  test('and one to each request that it had sent before', async () => {
    const chat = await rawUpstream(answering(({ target }) => ok(target)));
    const door = await gateway({ upstreams: { chat: chat.url }, timings: { lingerMs: 50 } });
    const one = await client(door.port);
    const numbers = [0, 1, 2, 3, 4];
    void one.send(`${numbers.map((n) => get(`${JSON_PATH}?n=${n}`)).join('')}GET /half`);
    one.halfClose();
    for (const n of numbers) expect(String((await one.reply()).body)).toBe(`${JSON_PATH}?n=${n}`);
    expect([await one.ended(1_500), one.text]).toEqual(['end', '']);
  });

  test('and all of it, though it takes its time, as long as it flows', async () => {
    const content = await rawUpstream(async (peer) => {
      await peer.request();
      await peer.send('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n');
      for (let turn = 0; turn < 10; turn++) {
        await Bun.sleep(150);
        await peer.send('x');
      }
    });
    const door = await gateway({ upstreams: { content: content.url } });
    const one = await client(door.port);
    await one.send(get(DOWNLOAD_PATH));
    one.halfClose();
    expect(String((await one.reply()).body)).toBe('x'.repeat(10));
  });
});
