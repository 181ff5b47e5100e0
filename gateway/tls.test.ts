import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { eventually, sendRaw, sleep, startedForOneTest, startGateway } from './testing.ts';

const { stopAll, upstream, gateway } = startedForOneTest();
afterEach(stopAll);

let folder = '';
const file = (name: string): string => join(folder, name);

/** A self-signed certificate of that name, in `<name>.crt` and `<name>.key`. */
function makeCertificate(name: string, days = '30'): void {
  execFileSync('openssl', [
    ...'req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1'.split(' '),
    ...['-subj', `/CN=${name}`, '-days', days, '-addext', 'subjectAltName=IP:127.0.0.1'],
    ...['-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)],
  ]);
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lyceum-tls-'));
  for (const name of ['first', 'second']) makeCertificate(name);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Puts that certificate where the gateway looks. */
function install(name: string): void {
  copyFileSync(file(`${name}.crt`), file('tls.crt'));
  copyFileSync(file(`${name}.key`), file('tls.key'));
}
const tlsSettings = () => ({
  PUBLIC_URL: 'https://school.example',
  TLS_CERT_FILE: file('tls.crt'),
  TLS_KEY_FILE: file('tls.key'),
});

function open(port: number, options: object = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options }, () =>
      resolve(socket),
    );
    socket.on('error', reject);
  });
}
const nameOn = (socket: TLSSocket): string => String(socket.getPeerCertificate().subject.CN);

/** One request on the connection, answered up to the end of a body of two bytes. */
function ask(socket: TLSSocket, path: string, headers = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (piece: Buffer) => {
      text += piece.toString('latin1');
      if (!/\r\n\r\n[\s\S]{2}/.test(text)) return;
      socket.off('data', onData);
      resolve(text);
    };
    socket.on('data', onData);
    socket.once('close', () => reject(new Error(`closed after ${text}`)));
    socket.write(
      `GET ${path} HTTP/1.1\r\nhost: school.example\r\nauthorization: Bearer good\r\n${headers}\r\n`,
    );
  });
}

describe('TLS', () => {
  test('requests pass, the service hears of https, and HSTS is said', async () => {
    install('first');
    const service = await upstream((_, response) =>
      response.writeHead(200, { 'content-length': 2 }).end('{}'),
    );
    const door = await gateway({ upstreams: { profile: service.url }, env: tlsSettings() });
    const socket = await open(door.port);
    expect(nameOn(socket)).toBe('first');
    const reply = await ask(socket, '/api/profiles/me', 'x-forwarded-proto: http\r\n');
    expect(reply).toStartWith('HTTP/1.1 200');
    expect(reply).toContain('strict-transport-security: max-age=63072000; includeSubDomains\r\n');
    expect(service.requests[0]!.headers['x-forwarded-proto']).toBe('https');
    // The same connection again.
    expect(await ask(socket, '/api/profiles/me')).toStartWith('HTTP/1.1 200');
    socket.destroy();
  });

  test('large bodies pass both ways', async () => {
    install('first');
    const size = 32 * 1_048_576;
    const service = await upstream(async (request, response) => {
      let received = 0;
      for await (const piece of request) received += (piece as Buffer).byteLength;
      response.writeHead(201, { 'content-length': size, 'x-received': String(received) });
      response.end(Buffer.alloc(size, 'y'));
    });
    const door = await gateway({ upstreams: { content: service.url }, env: tlsSettings() });
    const reply = await fetch(`https://127.0.0.1:${door.port}/api/content/files?name=a`, {
      method: 'POST',
      headers: { authorization: 'Bearer good' },
      body: Buffer.alloc(size, 'x'),
      tls: { rejectUnauthorized: false },
    } as RequestInit);
    expect(reply.headers.get('x-received')).toBe(String(size));
    expect((await reply.arrayBuffer()).byteLength).toBe(size);
  });

  test('only TLS 1.2 and newer, and nothing but TLS', async () => {
    install('first');
    const door = await gateway({ env: tlsSettings() });
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await open(door.port, { minVersion: version, maxVersion: version });
      expect(socket.getProtocol()).toBe(version);
      socket.destroy();
    }
    /** What a client says it has agreed on that speaks this version only; the runtime's own client refuses old ones. */
    const agreed = async (version: string): Promise<string> => {
      const target = ['-connect', `127.0.0.1:${door.port}`, '-cipher', 'DEFAULT:@SECLEVEL=0'];
      const client = promisify(execFile)('openssl', ['s_client', `-${version}`, ...target]);
      client.child.stdin?.end();
      const { stdout } = await client.catch((error: { stdout: string }) => error);
      return /Cipher is (\S+)/.exec(stdout)?.[1] ?? stdout;
    };
    expect(await agreed('tls1_2')).toStartWith('ECDHE-');
    for (const version of ['tls1', 'tls1_1'])
      expect([version, await agreed(version)]).toEqual([version, '(NONE)']);
    const plain = await sendRaw(door.port, 'GET /healthz HTTP/1.1\r\nhost: a.example\r\n\r\n');
    expect([plain.text.includes('HTTP/1.1 200'), plain.closed]).toEqual([false, true]);
  });

  test('who opens a connection and does not finish the handshake is not kept', async () => {
    install('first');
    const door = await gateway({ env: tlsSettings(), timings: { headMs: 300, sweepMs: 50 } });
    const started = performance.now();
    const { closed } = await sendRaw(door.port, Buffer.from('160301', 'hex'), 5_000);
    expect(closed).toBe(true);
    expect(performance.now() - started).toBeGreaterThan(200);
  });

  test('a new certificate is taken up without a restart: old connections stay, none is lost', async () => {
    install('first');
    const service = await upstream((_, response) =>
      response.writeHead(200, { 'content-length': 2 }).end('{}'),
    );
    const door = await gateway({ upstreams: { profile: service.url }, env: tlsSettings() });
    const old = await open(door.port);
    let running = true;
    let failed = 0;
    let served = 0;
    const names = new Set<string>();
    const load = Array.from({ length: 8 }, async () => {
      while (running) {
        try {
          const socket = await open(door.port);
          names.add(nameOn(socket));
          await ask(socket, '/api/profiles/me');
          socket.destroy();
          served++;
        } catch {
          failed++;
        }
      }
    });
    for (let round = 0; round < 6; round++) {
      await sleep(100);
      install(round % 2 === 0 ? 'second' : 'first');
      await door.reload();
    }
    install('second');
    await door.reload();
    const fresh = await open(door.port);
    expect(nameOn(fresh)).toBe('second');
    fresh.destroy();
    running = false;
    await Promise.all(load);
    expect(failed).toBe(0);
    expect(served).toBeGreaterThan(20);
    expect([...names].sort()).toEqual(['first', 'second']);
    expect(nameOn(old)).toBe('first');
    expect(await ask(old, '/api/profiles/me')).toStartWith('HTTP/1.1 200');
    old.destroy();
  });

  test('files that are of no use are refused, at the start and later; what was there stays', async () => {
    install('first');
    const env = tlsSettings();
    const fault = (change: () => void) => {
      change();
      return startGateway({ env }).then(
        () => 'started',
        (error: Error) => error.message,
      );
    };
    expect(await fault(() => rmSync(file('tls.key')))).toContain('TLS_KEY_FILE: ');
    install('first');
    expect(await fault(() => writeFileSync(file('tls.crt'), 'nonsense'))).toContain('TLS_CERT_FILE: ');
    install('first');
    expect(await fault(() => copyFileSync(file('second.key'), file('tls.key')))).toBe(
      'TLS_KEY_FILE: is not the key of the certificate in TLS_CERT_FILE',
    );

    install('first');
    const door = await gateway({ env });
    copyFileSync(file('second.crt'), file('tls.crt'));
    await expect(door.reload()).rejects.toThrow('is not the key of the certificate');
    const socket = await open(door.port);
    expect(nameOn(socket)).toBe('first');
    socket.destroy();
  });

  test('a plain port sends clients to HTTPS, to our own name only', async () => {
    install('first');
    const door = await gateway({ env: { ...tlsSettings(), REDIRECT_PORT: '0' } });
    const { text } = await sendRaw(
      door.redirectPort!,
      'GET /api/content/courses?q=a HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n',
    );
    expect(text).toStartWith('HTTP/1.1 308 Permanent Redirect');
    expect(text).toContain('location: https://school.example/api/content/courses?q=a\r\n');
  });

  test('WebSockets pass', async () => {
    install('first');
    const chat = await upstream(() => {});
    chat.server.on('upgrade', (_, socket) => {
      socket.on('error', () => {});
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n');
      socket.pipe(socket);
    });
    const door = await gateway({ upstreams: { chat: chat.url }, env: tlsSettings() });
    const socket = await open(door.port);
    let text = '';
    socket.on('data', (piece: Buffer) => {
      text += piece.toString('latin1');
    });
    socket.write(
      'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: school.example\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    await eventually(() => text.includes('\r\n\r\n'));
    expect(text).toStartWith('HTTP/1.1 101');
    text = '';
    // A masked text frame, "hi" with a mask of zeros.
    socket.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]));
    await eventually(() => text.endsWith('hi'));
    socket.destroy();
  });
});
