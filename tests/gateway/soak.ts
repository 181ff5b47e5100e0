import { createHash, randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { type Random, seededRandom } from '../../shared/seeded-random.ts';
import { startGatewayProcess } from './gateway-process.ts';
import { only } from './messages.ts';
import {
  AUTH,
  DOWNLOAD_PATH,
  get,
  HOST,
  JSON_PATH,
  ok,
  post,
  RawClient,
  startRawUpstream,
  UPLOAD_PATH,
  type UpstreamPeer,
} from './wire.ts';

/**
 * A soak of the gateway alone in its process: `bun tests/gateway/soak.ts --minutes 10`. Clients of all kinds come and go:
 * quick calls, whole and aborted downloads and uploads, slow readers and writers, malformed requests, connections and
 * WebSockets that are opened and dropped. Prints memory and open files as they go, and whether they stay flat.
 */

const MiB = 1024 ** 2;
const NEVER_MS = 24 * 3_600_000;
const piece = Buffer.alloc(65_536, 'lyceum ');

/** The services: by the path. */
async function serve(peer: UpstreamPeer): Promise<void> {
  for (;;) {
    const head = await peer.wait(
      'a head',
      () => (peer.text.includes('\r\n\r\n') ? peer.text.split('\r\n\r\n', 1)[0]! : peer.ending && ''),
      NEVER_MS,
    );
    if (head === '') return peer.close();
    if (/^upgrade: websocket/im.test(head)) return echoFrames(peer, head);
    const request = await peer.request(NEVER_MS).catch(() => undefined);
    if (!request) return peer.close();
    if (request.target !== DOWNLOAD_PATH) {
      await peer.send(ok(`{"bytes":${request.body.byteLength}}`, 'Content-Type: application/json\r\n'));
      continue;
    }
    const size = 2 * MiB;
    await peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    for (let sent = 0; sent < size && !peer.ending; sent += piece.byteLength) await peer.send(piece);
  }
}

/** Says yes to a WebSocket and sends back what it hears, as far as bytes go. */
async function echoFrames(peer: UpstreamPeer, head: string): Promise<void> {
  const key = /^sec-websocket-key: (.+)$/im.exec(head)?.[1]?.trim();
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  await peer.send(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  peer.keeping = false;
  // One text frame now and then, unmasked as a server's are.
  while (!peer.ending) {
    await peer.send(Buffer.from([0x81, 5, ...Buffer.from('hello')]));
    await Bun.sleep(200);
  }
  peer.close();
}

const counts: Record<string, number> = {};
const failures: string[] = [];

/** What a client does on one connection. Each throws if it was not served as it should be. */
const VISITS: Record<string, (one: RawClient, random: Random) => Promise<void>> = {
  async calls(one, random) {
    for (let turn = 1 + random(20); turn > 0; turn--) {
      const write = random(4) === 0;
      const { status } = await one.ask(
        write ? post(JSON_PATH, 'Content-Length: 2\r\n', '{}') : get(JSON_PATH),
      );
      if (status !== 200) throw new Error(`status ${status}`);
    }
  },
  async pipelines(one) {
    await one.send(get(JSON_PATH).repeat(10) + get('/healthz').repeat(10));
    for (let turn = 0; turn < 20; turn++)
      if ((await one.reply()).status !== 200) throw new Error('a pipeline');
  },
  async downloads(one) {
    await one.send(get(DOWNLOAD_PATH));
    const head = (
      await one.wait('a head', () => (one.text.includes('\r\n\r\n') ? one.text : undefined))
    ).indexOf('\r\n\r\n');
    one.keeping = false;
    await one.wait('the whole', () => (one.heardBytes === head + 4 + 2 * MiB ? true : undefined), 60_000);
  },
  async 'aborted downloads'(one, random) {
    await one.send(get(DOWNLOAD_PATH));
    one.keeping = false;
    await one.wait('a part', () => (one.heardBytes > random(MiB) ? true : undefined));
  },
  async 'slow readers'(one) {
    await one.send(get(DOWNLOAD_PATH));
    one.keeping = false;
    for (let gulp = 0; gulp < 20; gulp++) {
      one.socket.pause();
      await Bun.sleep(50);
      one.socket.resume();
      await Bun.sleep(5);
    }
  },
  async uploads(one, random) {
    const size = random(MiB);
    await one.send(post(UPLOAD_PATH, `Content-Length: ${size}\r\n`));
    await one.send(Buffer.alloc(size));
    const reply = await one.reply('POST', 60_000);
    if (String(reply.body) !== `{"bytes":${size}}`) throw new Error(`an upload: ${reply.raw}`);
  },
  async 'aborted uploads'(one, random) {
    await one.send(post(UPLOAD_PATH, 'Content-Length: 5000000\r\n'));
    await one.send(Buffer.alloc(random(MiB)));
  },
  async 'slow writers'(one) {
    for (const byte of post(JSON_PATH, 'Transfer-Encoding: chunked\r\n', '2\r\n{}\r\n0\r\n\r\n')) {
      await one.send(byte);
      await Bun.sleep(3);
    }
    if ((await one.reply('POST')).status !== 200) throw new Error('a slow writer');
  },
  async 'half a head'(one, random) {
    const text = get(JSON_PATH);
    await one.send(text.slice(0, random(text.length)));
    await Bun.sleep(random(200));
  },
  async nonsense(one) {
    const reply = await one.ask(`POST ${JSON_PATH} HTTP/1.1\r\n${HOST}Content-Length: x\r\n\r\n`);
    if (reply.status !== 400 || only(reply.headers, 'connection') !== 'close') throw new Error('nonsense');
  },
  async refusals(one) {
    const { status } = await one.ask(
      `GET ${JSON_PATH} HTTP/1.1\r\n${HOST}Authorization: Bearer ${Math.random()}\r\n\r\n`,
    );
    if (status !== 401) throw new Error(`refusal: ${status}`);
  },
  async 'connections only'(_, random) {
    await Bun.sleep(random(300));
  },
  async webSockets(one, random) {
    await one.send(
      `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n${HOST}${AUTH}Connection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
    );
    await one.until('hello');
    // A masked text frame, perhaps a close frame.
    await one.send(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 104, 105]));
    await Bun.sleep(random(500));
    if (random(2) === 0) await one.send(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 3, 232]));
  },
};

const median = (values: number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

async function soak(minutes: number, parallel: number): Promise<boolean> {
  const service = await startRawUpstream(serve);
  const door = await startGatewayProcess({
    upstreams: { chat: service.url, content: service.url },
    env: { LYCEUM_LIMIT_SCALE: '1000000' },
  });
  const filesAtStart = door.openFiles();
  const names = Object.keys(VISITS);
  const until = performance.now() + minutes * 60_000;
  let visits = 0;
  const visiting = Array.from({ length: parallel }, async (_, who) => {
    const random = seededRandom(who + 1);
    while (performance.now() < until) {
      const name = names[random(names.length)]!;
      const one = await RawClient.open(door.port);
      try {
        await VISITS[name]!(one, random);
        counts[name] = (counts[name] ?? 0) + 1;
      } catch (error) {
        failures.push(`${name}: ${error instanceof Error ? error.message : error}`.slice(0, 300));
      }
      visits++;
      if (random(2) === 0) one.close();
      else one.reset();
    }
  });
  const samples: { seconds: number; memory: number; files: number }[] = [];
  const started = performance.now();
  const every = Math.min(10_000, (minutes * 60_000) / 30);
  const watching = (async () => {
    while (performance.now() < until) {
      await Bun.sleep(every);
      const seconds = Math.round((performance.now() - started) / 1_000);
      const sample = { seconds, memory: door.memory().now, files: door.openFiles() };
      samples.push(sample);
      console.log(
        `${String(seconds).padStart(5)} s  ${sample.memory.toFixed(1).padStart(6)} MiB  ${String(sample.files).padStart(4)} files  ${visits} visits`,
      );
      // What it has recorded is of no use here, and would make us grow.
      service.requests.length = 0;
      service.peers.splice(0, Math.max(0, service.peers.length - 1_000));
    }
  })();
  await Promise.all([...visiting, watching]);
  await Bun.sleep(4_000);
  const filesAtEnd = door.openFiles();
  const metrics = await (await fetch(`http://127.0.0.1:${door.internalPort}/metrics`)).text();
  const held = [
    ...metrics.matchAll(/^lyceum_gateway_(?:\w*_in_flight|open_sockets)\{.*\} ([1-9]\d*)$/gm),
  ].map(([line]) => line);

  const third = Math.floor(samples.length / 3);
  const middle = median(samples.slice(third, 2 * third).map(({ memory }) => memory));
  const last = median(samples.slice(2 * third).map(({ memory }) => memory));
  const flat = last <= middle * 1.05 + 3;
  const clean = filesAtEnd <= filesAtStart + 70 && held.length === 0;
  console.log(counts);
  console.log(
    `memory: ${middle.toFixed(1)} MiB in the middle third, ${last.toFixed(1)} MiB in the last, most ${door.memory().most.toFixed(1)} MiB: ${flat ? 'flat' : 'NOT FLAT'}`,
  );
  console.log(
    `open files: ${filesAtStart} before, ${filesAtEnd} after; held: ${held.length === 0 ? 'nothing' : held}: ${clean ? 'nothing is left' : 'SOMETHING IS LEFT'}`,
  );
  console.log(`${failures.length} visits failed`, failures.slice(0, 5));
  console.log(
    `the process ${door.alive() ? 'lives' : 'HAS ENDED'}, complaints: ${door.complaints() || 'none'}`,
  );
  const good = flat && clean && failures.length === 0 && door.alive() && door.complaints() === '';
  await door.stop();
  await service.stop();
  return good;
}

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '10' }, clients: { type: 'string', default: '48' } },
});
const good = await soak(Number(values.minutes), Number(values.clients));
console.log(good ? 'flat' : 'not good');
process.exit(good ? 0 : 1);
