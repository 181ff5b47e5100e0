import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { startGateway, type TestGateway } from '../../gateway/testing.ts';
import { CASES, DIFFERENCES, type DifferentialCase } from './differential-cases.ts';
import { type Fields, type RequestMessage, type ResponseMessage, readResponse } from './messages.ts';
import { type Nginx, noNginx, startNginx } from './nginx.ts';
import { ok, QUIET, RawClient, type RawUpstream, startRawUpstream, type UpstreamPeer } from './wire.ts';

/**
 * The same bytes to the gateway and to nginx, before the same service: what the service saw and what the client got
 * must agree, or the difference stands with its reason in differential-cases.ts (and in docs/gateway-differences.md).
 */

const absent = noNginx();
if (absent !== undefined && process.env.CI === 'true') throw new Error(absent);
if (absent !== undefined) console.log(`skipped: ${absent}`);

let current: DifferentialCase;
let behindGateway: RawUpstream;
let behindNginx: RawUpstream;
let gateway: TestGateway;
let nginx: Nginx;

/** Answers as the case says. */
async function serve(peer: UpstreamPeer): Promise<void> {
  for (let request = await peer.request(60_000); request; request = await peer.request(60_000)) {
    await peer.send(current.reply ?? ok());
    if (current.replyCloses) return peer.halfClose();
  }
}

beforeAll(async () => {
  if (absent !== undefined) return;
  behindGateway = await startRawUpstream(serve);
  behindNginx = await startRawUpstream(serve);
  gateway = await startGateway({
    upstreams: { chat: behindGateway.url, content: behindGateway.url },
    env: QUIET,
    timings: { lingerMs: 20 },
  });
  nginx = await startNginx(behindNginx.port);
});
afterAll(async () => {
  await gateway?.stop(100);
  await nginx?.stop();
  await behindGateway?.stop();
  await behindNginx?.stop();
});

/** What each of the two says about itself, or about the client's address; and framing, which is looked at by itself. */
const OWN_UP = /^(host|connection|x-request-id|traceparent|x-forwarded-.*|content-length|transfer-encoding)$/;
const OWN_DOWN =
  /^(date|server|connection|keep-alive|x-request-id|traceparent|ratelimit-.*|content-length|transfer-encoding|x-content-type-options|referrer-policy|cross-origin-.*|permissions-policy|content-security-policy)$/;

/** A line that comes n times is one fact. */
function factsOf(label: string, own: RegExp, headers: Fields): string[] {
  const times = new Map<string, number>();
  for (const [given, value] of headers) {
    const name = given.toLowerCase();
    if (own.test(name)) continue;
    const fact = `${label} has ${name}: ${value.length > 60 ? `${value.length} bytes` : value}`;
    times.set(fact, (times.get(fact) ?? 0) + 1);
  }
  return [...times].map(([fact, count]) => (count === 1 ? fact : `${fact} (${count} times)`));
}

const bodyOf = ({ framing, body }: RequestMessage | ResponseMessage): string =>
  `${framing} ${body.byteLength > 60 ? `${Bun.hash(body)}` : JSON.stringify(body.toString('latin1'))}`;

function requestFacts(request: RequestMessage, index: number): string[] {
  const label = `request ${index + 1}`;
  const target = request.target.length > 100 ? `${request.target.length} bytes` : request.target;
  return [
    `${label}: ${request.method} ${target} ${request.version}`,
    ...factsOf(label, OWN_UP, request.headers),
    `${label} body: ${bodyOf(request)}`,
  ];
}

/** The reply of a proxy itself is told by its status alone: the words are each one's own. */
function replyFacts(reply: ResponseMessage, index: number, fromService: boolean): string[] {
  const label = `reply ${index + 1}`;
  if (!fromService) return [`${label}: ${reply.status}`];
  return [
    `${label}: ${reply.status} ${reply.reason}`,
    ...factsOf(label, OWN_DOWN, reply.headers),
    `${label} body: ${bodyOf(reply)}`,
  ];
}

/** Longest wait for what may not come at all, and how long nothing more must come. Milliseconds. */
const PATIENCE_MS = 1_500;
const SILENCE_MS = 50;

/** What was heard, as replies; and what is left over or why it can't be read. */
function repliesOf(one: RawClient, request: string): { replies: ResponseMessage[]; rest: string } {
  const replies: ResponseMessage[] = [];
  let rest = one.rest;
  try {
    for (;;) {
      const method = request.startsWith('HEAD') && replies.length === 0 ? 'HEAD' : 'GET';
      const reply = readResponse(rest, method, one.ending !== undefined);
      if (!reply) return { replies, rest: rest.toString('latin1') };
      replies.push(reply);
      rest = rest.subarray(reply.raw.byteLength);
    }
  } catch (error) {
    return { replies, rest: String(error) };
  }
}

const saysClose = ({ headers, version }: ResponseMessage): boolean =>
  headers.some(([name, value]) => name.toLowerCase() === 'connection' && value.toLowerCase() === 'close') ||
  version === 'HTTP/1.0';

async function observe(port: number, service: RawUpstream, one: DifferentialCase): Promise<string[]> {
  const { request, replies: wanted = 1 } = one;
  const before = service.requests.length;
  const client = await RawClient.open(port);
  await client.send(request);
  const patiently = (look: () => true | undefined) => client.wait('it', look, PATIENCE_MS).catch(() => {});
  await patiently(() => {
    if (client.ending) return true;
    const { replies, rest } = repliesOf(client, request);
    const finals = replies.filter(({ status }) => status >= 200);
    return rest.startsWith('Malformed') || finals.length >= wanted || finals.some(saysClose)
      ? true
      : undefined;
  });
  if (repliesOf(client, request).replies.some(saysClose))
    await patiently(() => (client.ending ? true : undefined));
  await Bun.sleep(SILENCE_MS);

  const { replies, rest } = repliesOf(client, request);
  const requests = service.requests.slice(before);
  const connection = client.ending === undefined ? 'open' : 'closed';
  client.close();
  // The service answers each request that it sees; a refusal of a proxy's own has other words.
  const words = [
    'OK',
    ...[...String(one.reply ?? '').matchAll(/^HTTP\/1\.\d \d+ (.*)\r$/gm)].map(([, reason]) => reason),
  ];
  return [
    ...requests.flatMap(requestFacts),
    ...replies.flatMap((reply, index) =>
      replyFacts(reply, index, requests.length > 0 && reply.status !== 502 && words.includes(reply.reason)),
    ),
    ...(rest === '' ? [] : [`then: ${JSON.stringify(rest.slice(0, 80))}`]),
    `connection: ${connection}`,
  ];
}

/** Of which the differences are listed: Debian 12's. */
const KNOWN_VERSION = 'nginx/1.22.';

/** The facts of the first that the second has not. */
const without = (facts: string[], others: string[]): string[] =>
  facts.filter((fact) => !others.includes(fact));

describe.skipIf(absent !== undefined)('nginx', () => {
  test('is asked more than 100 questions', () => {
    expect(CASES.length).toBeGreaterThan(100);
    expect(new Set(CASES.map(({ name }) => name)).size).toBe(CASES.length);
  });

  test('every difference is of a case, and has its reason in the documentation', () => {
    const documented = readFileSync(new URL('../../docs/gateway-differences.md', import.meta.url), 'utf8');
    for (const [name, { why }] of Object.entries(DIFFERENCES)) {
      expect(CASES.map((one) => one.name)).toContain(name);
      expect([name, documented.includes(`| ${name} |`), why.length > 10]).toEqual([name, true, true]);
    }
  });

  for (const one of CASES) {
    test(one.name, async () => {
      current = one;
      const [ours, theirs] = await Promise.all([
        observe(gateway.port, behindGateway, one),
        observe(nginx.port, behindNginx, one),
      ]);
      const found = { gateway: without(ours, theirs), nginx: without(theirs, ours) };
      const expected = DIFFERENCES[one.name] ?? { gateway: [], nginx: [] };
      // What another nginx does where we differ anyway is its own affair.
      if (!nginx.version.includes(KNOWN_VERSION))
        expect(ours).toEqual(expect.arrayContaining(expected.gateway));
      else expect(found).toEqual({ gateway: expected.gateway, nginx: expected.nginx });
    });
  }
});
