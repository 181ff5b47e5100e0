import { expect } from 'bun:test';
import { readFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { PROBLEMS, type ProblemCode } from '../../shared/errors.ts';
import { ask, connect, must, type Person } from '../support/people.ts';
import type { TestPlatform } from '../support/platform.ts';

/** What every refusal must be like, whatever was refused: in the contract's form, discreet, and nobody else's business. */

/** What tells a stranger how we are made: stacks, paths, SQL, drivers, addresses, values that are none. */
const LEAKS =
  /\n\s*at |\.(?:ts|js|mjs):\d|node_modules|\/(?:work|tmp|home|usr|etc)\/|\bundefined\b|\[object |\bNaN\b|\bselect\b.*\bfrom\b|\binsert into\b|\bviolates\b|\bconstraint\b|\brelation\b|\b(?:kysely|pglite|postgres|ioredis|rabbitmq|amqp|zod|busboy|jose)\b|SyntaxError|TypeError|RangeError|ECONN|ENOENT|127\.0\.0\.1|localhost/i;

/** Fails if a text that a client gets says more than it should. */
export function expectDiscreet(text: string): void {
  expect(text.match(LEAKS)?.[0] ?? 'discreet').toBe('discreet');
}

export interface Reply {
  status: number;
  headers: Headers;
  text: string;
}

/** Everything a fetch has to say; a connection that ended without a reply has the status 0. */
export async function replyOf(response: Promise<Response>): Promise<Reply> {
  const { status, headers, text } = await response.then(
    async (given) => ({ status: given.status, headers: given.headers, text: await given.text() }),
    (error: unknown) => ({ status: 0, headers: new Headers(), text: String(error) }),
  );
  return { status, headers, text };
}

/** The faults of a reply that should be the contract's problem with one of these codes; none: an empty list. */
export function faultsOf({ status, headers, text }: Reply, ...codes: ProblemCode[]): string[] {
  const faults: string[] = [];
  const check = (right: boolean, fault: string) => right || faults.push(fault);
  if (!headers.get('content-type')?.startsWith('application/problem+json'))
    return [`${status} ${headers.get('content-type')}: ${text.slice(0, 200)}`];
  const body = JSON.parse(text) as Record<string, unknown>;
  const code = body.code as ProblemCode;
  check(codes.includes(code), `${status} ${code} (${body.detail}) instead of ${codes.join(' or ')}`);
  check(PROBLEMS[code]?.[0] === status && body.status === status, `${code} with the status ${status}`);
  check(body.type === `urn:lyceum:problem:${code}` && typeof body.title === 'string', `type ${body.type}`);
  check(typeof body.detail === 'string', 'no detail');
  check(body.requestId === headers.get('x-request-id') && !!body.requestId, `request id ${body.requestId}`);
  const known = ['type', 'title', 'status', 'code', 'detail', 'requestId', 'errors'];
  check(
    Object.keys(body).every((key) => known.includes(key)),
    `fields ${Object.keys(body)}`,
  );
  const leak = text.match(LEAKS)?.[0];
  check(leak === undefined, `says ${JSON.stringify(leak)}: ${text.slice(0, 400)}`);
  return faults;
}

export async function expectRefused(response: Promise<Response>, ...codes: ProblemCode[]): Promise<Reply> {
  const reply = await replyOf(response);
  expect(faultsOf(reply, ...codes)).toEqual([]);
  return reply;
}

/** What clients can see is stored, of these people: equal before and after whatever is refused. */
export async function stored(people: Person[], more: string[] = []): Promise<Record<string, unknown>> {
  const lists = [
    '/api/content/courses?mine=true&limit=100',
    '/api/content/files?limit=100',
    '/api/chat/rooms?limit=100',
    '/api/profiles/me',
    '/api/profiles/me/preferences',
    '/api/notifications/preferences',
    ...more,
  ];
  const seen: Record<string, unknown> = {};
  for (const person of people) {
    for (const list of lists) {
      const { status, body } = await person.api.get(list);
      seen[`${person.email} ${list}`] = status === 200 ? body : status;
    }
  }
  return seen;
}

/** No bystander waits longer for an answer while the machine is shared with everything else, in milliseconds. */
const PATIENCE_MS = 5_000;

/**
 * Runs an attack while somebody else goes on working: reads over HTTP, and events with acknowledgements on a
 * socket that must stay open. Fails if a single answer is missing, wrong or late.
 */
export async function unnoticed<T>(
  platform: TestPlatform,
  bystander: Person,
  attack: () => Promise<T>,
): Promise<T> {
  const socket = await connect(platform, bystander.token);
  const trouble: string[] = [];
  let rounds = 0;
  let over = false;
  socket.on('disconnect', (reason) => over || trouble.push(`disconnected: ${reason}`));
  const { items } = await must(bystander.api.get('/api/chat/rooms'), 'rooms');
  const work = (async () => {
    do {
      const started = performance.now();
      const { status } = await bystander.api.get('/api/auth/me');
      if (status !== 200) trouble.push(`GET me: ${status}`);
      const ack = await ask(socket, 'room:join', { roomId: items[0].id }).catch(String);
      if (ack.ok !== true) trouble.push(`room:join: ${JSON.stringify(ack)}`);
      const ms = performance.now() - started;
      if (ms > PATIENCE_MS) trouble.push(`a round took ${Math.round(ms)} ms`);
      rounds++;
      await Bun.sleep(50);
    } while (!over);
  })();
  try {
    return await attack();
  } finally {
    over = true;
    await work;
    socket.close();
    expect(trouble).toEqual([]);
    expect(rounds).toBeGreaterThan(0);
  }
}

/** Lines of the platform's log that say something broke in us. Bad input never is a reason for one. */
export async function errorsLogged(platform: TestPlatform): Promise<string[]> {
  const log = await readFile(join(platform.dataDir, 'logs', 'lyceum.log'), 'utf8');
  return log.split('\n').filter((line) => /"level":(?:50|60|"error"|"fatal")/.test(line));
}

/** Writes bytes to the public port as they are; resolves with all that comes back until the other side closes. */
export function speakRaw(
  platform: TestPlatform,
  write: (send: (bytes: string | Uint8Array) => void, end: () => void) => void,
  deadlineMs = 40_000,
): Promise<string> {
  return new Promise((resolve) => {
    let heard = '';
    const socket = connectTcp(Number(new URL(platform.url).port), '127.0.0.1');
    const timer = setTimeout(() => socket.destroy(), deadlineMs);
    socket.on('data', (chunk) => {
      heard += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(heard);
    });
    socket.on('connect', () =>
      write(
        (bytes) => void (socket.destroyed || socket.write(bytes)),
        () => socket.destroy(),
      ),
    );
  });
}

/** The first reply in what a raw connection has heard. */
export function parseRaw(heard: string): Reply {
  const end = heard.indexOf('\r\n\r\n');
  const [statusLine = '', ...lines] = heard.slice(0, Math.max(end, 0)).split('\r\n');
  const headers = new Headers(
    lines.map((line): [string, string] => [
      line.slice(0, line.indexOf(':')),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  );
  const length = Number(headers.get('content-length') ?? 0);
  return {
    status: Number(statusLine.split(' ')[1] ?? 0),
    headers,
    text: heard.slice(end + 4, end + 4 + length),
  };
}
