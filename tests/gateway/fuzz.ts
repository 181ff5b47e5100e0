import { parseArgs } from 'node:util';
import { eventually } from '../../gateway/testing.ts';
import { type Random, seededRandom } from '../../shared/seeded-random.ts';
import { type GatewayProcess, startGatewayProcess } from './gateway-process.ts';
import { type Fields, Malformed, type RequestMessage, readResponse, valuesOf } from './messages.ts';
import {
  AUTH,
  DOWNLOAD_PATH,
  get,
  HOST,
  JSON_PATH,
  QUIET,
  RawClient,
  type RawUpstream,
  startRawUpstream,
  UPLOAD_PATH,
  type UpstreamPeer,
} from './wire.ts';

/**
 * A fuzzer of the running gateway: `bun tests/gateway/fuzz.ts --connections 100000 --seed 1`. Clients send pipelines of
 * requests, most of them damaged, in random pieces; a strict service records what reaches it and answers in every
 * framing there is. Whatever is sent, what must hold is checked. The same seed sends the same; timing is the machine's.
 */

export interface FuzzCounts {
  connections: number;
  /** Requests that were sent undamaged on undamaged connections, and so had to be answered. */
  sound: number;
  /** Requests that the service saw. */
  seen: number;
  replies: number;
  refused: number;
}

/** Names a request, so that its reply can be told from every other; damage to it is noticed. */
const markerOf = (connection: number, index: number): string => {
  const name = `c${connection}n${index}`;
  return `${name}h${Bun.hash.crc32(name).toString(16)}e`;
};
const MARKERS = /c\d+n\d+h[0-9a-f]+e/g;
const markersIn = (text: string): string[] =>
  [...text.matchAll(MARKERS)].map(([marker]) => marker).filter(isMarker);
const isMarker = (marker: string): boolean => {
  const [, connection, index] = /^c(\d+)n(\d+)h/.exec(marker) ?? [];
  return marker === markerOf(Number(connection), Number(index));
};

/** What would be a request if a body were taken for one. */
const hiddenOf = (connection: number): string =>
  `GET /api/chat/smuggled?c=${connection} HTTP/1.1\r\n${HOST}${AUTH}\r\n`;

const pick = <T>(random: Random, of: readonly T[]): T => of[random(of.length)]!;

function chunksOf(random: Random, body: string): string {
  let text = '';
  for (let at = 0; at < body.length; ) {
    const size = 1 + random(body.length - at);
    text += `${size.toString(16)}${random(5) === 0 ? ';ext=1' : ''}\r\n${body.slice(at, at + size)}\r\n`;
    at += size;
  }
  return `${text}0\r\n${random(4) === 0 ? 'X-Trailer: 1\r\n' : ''}\r\n`;
}

/** A request as a proper client would send it. */
function soundRequest(
  random: Random,
  marker: string,
  hidden: string,
): { method: string; text: string; body: string } {
  const method = pick(random, ['GET', 'GET', 'GET', 'HEAD', 'POST', 'POST', 'POST', 'PUT', 'DELETE']);
  const lines = `${HOST}${AUTH}X-Marker: ${marker}\r\n${random(3) === 0 ? 'X-Other: a, b;c="d"\r\n' : ''}`;
  if (method === 'GET' || method === 'HEAD') {
    const path = pick(random, [JSON_PATH, DOWNLOAD_PATH, `${JSON_PATH}?q=%20x`, '/api/chat/./rooms']);
    return { method, text: `${method} ${path} HTTP/1.1\r\n${lines}\r\n`, body: '' };
  }
  const path = method === 'POST' ? pick(random, [JSON_PATH, UPLOAD_PATH]) : JSON_PATH;
  const body = pick(random, ['', '{}', hidden, 'x'.repeat(random(3_000)), '0\r\n\r\n', `\r\n\r\n${hidden}`]);
  const framed =
    random(2) === 0
      ? `Content-Length: ${body.length}\r\n\r\n${body}`
      : `Transfer-Encoding: chunked\r\n\r\n${chunksOf(random, body)}`;
  return { method, text: `${method} ${path} HTTP/1.1\r\n${lines}${framed}`, body };
}

const SPLICES = [
  '\r\n',
  '\n',
  '\r',
  '\r\n\r\n',
  ' ',
  '\t',
  '\0',
  ':',
  '0\r\n\r\n',
  'Content-Length: 5\r\n',
  'Content-Length: 0\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: identity\r\n',
  'Connection: close\r\n',
  'Expect: 100-continue\r\n',
  'Host: b\r\n',
  'Upgrade: websocket\r\nConnection: upgrade\r\n',
  'ffffffffffffffff\r\n',
  '%2f..',
  '\xff',
  get(JSON_PATH),
];

function damaged(random: Random, text: string): string {
  let result = text;
  for (let times = 1 + random(3); times > 0; times--) {
    const at = random(result.length + 1);
    const size = random(3) === 0 ? random(200) : random(4);
    const [before, cut, after] = [result.slice(0, at), result.slice(at, at + size), result.slice(at + size)];
    switch (random(7)) {
      case 0:
        result = before + after;
        break;
      case 1:
        result = before + cut + cut + after;
        break;
      case 2:
        result = before + pick(random, SPLICES) + cut + after;
        break;
      case 3:
        result = before + pick(random, SPLICES) + after;
        break;
      case 4:
        result = before + String.fromCharCode(random(256)) + result.slice(at + 1);
        break;
      case 5:
        result = before.replace(/\r\n(?=[^\r\n]*$)/, '\n') + cut + after;
        break;
      default:
        result = random(4) === 0 ? before : before + cut.toLowerCase() + after;
    }
  }
  return result;
}

const markerIn = (headers: Fields): string | undefined => valuesOf(headers, 'x-marker')[0];

/** The body of the reply: tells that of the request. */
const answerTo = (marker: string, body: Uint8Array): string =>
  `${marker} ${body.byteLength} ${Bun.hash.crc32(body)}`;

/** The service: answers each request with its marker, in a framing that the marker chooses. */
async function echo(peer: UpstreamPeer): Promise<void> {
  for (let request = await peer.request(NEVER_MS); request; request = await peer.request(NEVER_MS)) {
    // Damage may have doubled it.
    const marker = markerIn(request.headers) ?? 'none';
    const how = Number(Bun.hash.crc32(marker)) % 8;
    const body = answerTo(marker, request.body);
    const head = `HTTP/1.1 200 OK\r\nX-Marker: ${marker}\r\n`;
    if (how === 0) await Bun.sleep(how % 3);
    const bodiless = request.method === 'HEAD';
    if (how === 1) await peer.send('HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n');
    if (how === 2 && !bodiless) {
      await peer.send(`${head}\r\n${body}`);
      return peer.halfClose();
    }
    if (how === 3) {
      await peer.send(`HTTP/1.1 204 No Content\r\nX-Marker: ${marker}\r\n\r\n`);
    } else if (how === 4 || how === 5) {
      await peer.send(`${head}Transfer-Encoding: chunked\r\n\r\n`);
      if (!bodiless) await peer.send(`${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`);
    } else {
      await peer.send(`${head}Content-Length: ${body.length}\r\n\r\n`);
      if (how === 6) await Bun.sleep(0);
      if (!bodiless) await peer.send(body);
    }
  }
  peer.halfClose();
}

const NEVER_MS = 3_600_000;
/** After the last byte of a damaged connection, what may still come is waited for so long. Milliseconds. */
const SILENCE_MS = 30;

export interface FuzzOptions {
  seed: number;
  connections: number;
  /** At a time. */
  parallel?: number;
  log?: (line: string) => void;
}

/** Throws an Error that says what did not hold and how to see it again. */
export async function fuzzGateway(options: FuzzOptions): Promise<FuzzCounts> {
  const { seed, connections, parallel = 16, log } = options;
  const service = await startRawUpstream(echo);
  const door = await startGatewayProcess({
    upstreams: { chat: service.url, content: service.url },
    env: { ...QUIET, LYCEUM_LIMIT_SCALE: '1000000' },
    timings: { lingerMs: 20, headMs: 60_000, jsonBodyMs: 60_000, uploadWindowMs: 60_000 },
  });
  const filesAtStart = door.openFiles();
  const counts: FuzzCounts = { connections: 0, sound: 0, seen: 0, replies: 0, refused: 0 };
  const failures: string[] = [];
  /** Connections that sent nothing but proper requests. */
  const sound = new Set<number>();
  let next = 0;
  try {
    await Promise.all(
      Array.from({ length: parallel }, async () => {
        while (next < connections && failures.length === 0) {
          const number = next++;
          await oneConnection(seed, number, door, counts, sound).catch((error) =>
            failures.push(`connection ${number} of seed ${seed}: ${error.message}`),
          );
          counts.connections++;
          if (log && number % 5_000 === 4_999)
            log(`${number + 1} connections, ${door.memory().now.toFixed(0)} MiB`);
        }
      }),
    );
    if (failures.length > 0)
      throw new Error(
        `${failures.join('\n')}\ngateway ${door.alive() ? 'lives' : 'has ended'}: ${door.complaints()}`,
      );
    checkService(service, counts, sound);
    await checkGateway(door, filesAtStart);
    return counts;
  } finally {
    await door.stop();
    await service.stop();
  }
}

async function oneConnection(
  seed: number,
  number: number,
  door: GatewayProcess,
  counts: FuzzCounts,
  sound: Set<number>,
): Promise<void> {
  const random = seededRandom(seed * 1_000_003 + number);
  const requests = Array.from({ length: 1 + random(6) }, (_, index) =>
    soundRequest(random, markerOf(number, index), hiddenOf(number)),
  );
  const isSound = random(4) === 0;
  const whole = requests.map(({ text }) => text).join('');
  const bytes = Buffer.from(isSound ? whole : damaged(random, whole), 'latin1');
  const one = await RawClient.open(door.port);
  try {
    await sendInPieces(random, one, bytes);
    if (isSound) {
      sound.add(number);
      counts.sound += requests.length;
      counts.replies += requests.length;
      for (const [index, { method, body }] of requests.entries()) {
        let reply = await one.reply(method);
        while (reply.status < 200) reply = await one.reply(method);
        const marker = markerIn(reply.headers);
        if (marker !== markerOf(number, index))
          throw new Error(`reply ${index} is that of ${marker}: ${reply.raw}`);
        if (reply.framing !== 'none' && String(reply.body) !== answerTo(marker, Buffer.from(body, 'latin1')))
          throw new Error(`reply ${index} tells of another body: ${reply.raw}`);
      }
      if (one.text !== '') throw new Error(`more than was asked for: ${one.text}`);
      return;
    }
    for (let heard = -1; heard !== one.heardBytes && !one.ending; ) {
      heard = one.heardBytes;
      await Bun.sleep(SILENCE_MS);
    }
    checkReplies(one, bytes.toString('latin1'), number, counts);
  } catch (error) {
    if (error instanceof Error) error.message += `\n  sent ${JSON.stringify(bytes.toString('latin1'))}`;
    throw error;
  } finally {
    pick(random, [() => one.close(), () => one.reset(), () => one.halfClose()])();
    setTimeout(() => one.close(), 100);
  }
}

async function sendInPieces(random: Random, one: RawClient, bytes: Buffer): Promise<void> {
  const largest = pick(random, [1, 3, 50, 500, 100_000]);
  for (let at = 0; at < bytes.byteLength && !one.ending; ) {
    const size = 1 + random(largest);
    await one.send(bytes.subarray(at, at + size));
    at += size;
    if (random(10) === 0) await Bun.sleep(0);
  }
}

/** What came back is a row of well-formed replies, perhaps with one that broke off; each to a request that was sent, in order. */
function checkReplies(one: RawClient, sent: string, number: number, counts: FuzzCounts): void {
  const mine = markersIn(sent);
  let after = 0;
  let rest = one.rest;
  while (rest.byteLength > 0) {
    let reply: ReturnType<typeof readResponse>;
    try {
      // To HEAD, no body follows: tried first where the next bytes are a head again, or nothing.
      reply = readReplyTo(rest, one.ending === 'end');
    } catch (error) {
      if (one.ending === 'reset' || !(error instanceof Malformed)) return;
      throw error;
    }
    if (!reply) return; // it is still coming
    rest = rest.subarray(reply.raw.byteLength);
    if (reply.status < 200) continue;
    counts.replies++;
    if (reply.status >= 400) counts.refused++;
    if (reply.status === 500) throw new Error(`500: ${reply.raw}`);
    const marker = markerIn(reply.headers);
    if (marker === undefined || !isMarker(marker)) continue;
    if (!marker.startsWith(`c${number}n`)) throw new Error(`the reply of another connection: ${marker}`);
    const at = mine.indexOf(marker, after);
    if (at < 0) throw new Error(`a reply out of order: ${marker}, after ${mine.slice(0, after)}`);
    after = at + 1;
  }
}

function readReplyTo(bytes: Buffer, ended: boolean): ReturnType<typeof readResponse> {
  const head = readResponse(bytes, 'HEAD', ended);
  if (!head) return undefined;
  const behind = bytes.subarray(head.raw.byteLength);
  const isHead = behind.byteLength === 0 || behind.toString('latin1', 0, 9) === 'HTTP/1.1 ';
  return isHead ? head : readResponse(bytes, 'GET', ended);
}

/** The service saw well-formed requests only, each at most once, none that was hidden in a sound body. */
function checkService(service: RawUpstream, counts: FuzzCounts, sound: Set<number>): void {
  // An upload that its client broke off is broken off here too: half a request, and the end of its connection.
  const faults = service.faults.filter((fault) => !fault.includes('half a request'));
  if (faults.length > 0)
    throw new Error(`the service was sent what is no request: ${faults.slice(0, 3).join('\n')}`);
  counts.seen = service.requests.length;
  const times = new Map<string, RequestMessage[]>();
  for (const request of service.requests) {
    if (/[^\x21-\x7e]/.test(request.target)) throw new Error(`target ${request.target}`);
    const smuggled = /^\/api\/chat\/smuggled\?c=(\d+)$/.exec(request.target)?.[1];
    if (smuggled !== undefined && sound.has(Number(smuggled)))
      throw new Error(`a body was taken for a request: c${smuggled}`);
    const marker = markerIn(request.headers);
    if (marker !== undefined && isMarker(marker)) times.set(marker, [...(times.get(marker) ?? []), request]);
  }
  for (const [marker, requests] of times)
    if (requests.length > 2) throw new Error(`${marker} was sent to the service ${requests.length} times`);
}

/** It lives, holds nothing any more, and answers. */
async function checkGateway(door: GatewayProcess, filesAtStart: number): Promise<void> {
  if (!door.alive()) throw new Error(`the gateway has ended: ${door.complaints()}`);
  if (door.complaints() !== '') throw new Error(`the gateway complained: ${door.complaints()}`);
  // What is left are kept connections to the service.
  await eventually(() => door.openFiles() <= filesAtStart + 70, 10_000).catch(() => {
    throw new Error(`${door.openFiles() - filesAtStart} more open files than at the start`);
  });
  const metrics = await (await fetch(`http://127.0.0.1:${door.internalPort}/metrics`)).text();
  const gauges = [...metrics.matchAll(/^lyceum_gateway_\w*_in_flight\{.*\} (\d+)$/gm)];
  const held = gauges.filter(([, count]) => count !== '0').map(([line]) => line);
  if (gauges.length < 5 || held.length > 0)
    throw new Error(`in flight, though all clients are gone: ${held}`);
  const one = await RawClient.open(door.port);
  const reply = await one.ask(`GET /healthz HTTP/1.1\r\n${HOST}\r\n`);
  one.close();
  if (reply.status !== 200) throw new Error(`health: ${reply.status}`);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { connections: { type: 'string', default: '20000' }, seed: { type: 'string', default: '1' } },
  });
  const started = performance.now();
  const counts = await fuzzGateway({
    seed: Number(values.seed),
    connections: Number(values.connections),
    log: (line) => console.log(line),
  });
  console.log(counts, `${((performance.now() - started) / 1_000).toFixed(0)} s, nothing found`);
  process.exit(0);
}
