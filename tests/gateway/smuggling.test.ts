import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import {
  type RequestOutcome,
  type RequestVector,
  requestVectors,
  responseVectors,
  type SeenRequest,
} from '../../gateway/http/corpus.ts';
import { startGateway, type TestGateway } from '../../gateway/testing.ts';
import { type RequestMessage, type ResponseMessage, readResponse } from './messages.ts';
import {
  AUTH,
  answering,
  get,
  JSON_PATH,
  ok,
  QUIET,
  RawClient,
  type RawUpstream,
  startedOnWire,
  startRawUpstream,
  UPLOAD_PATH,
} from './wire.ts';

/**
 * The corpus of the parsers, spoken to a running gateway: every vector is refused and its connection closed, or passes
 * as exactly the requests that it is. The same for what services say.
 */

let service: RawUpstream;
let door: TestGateway;

beforeAll(async () => {
  service = await startRawUpstream(answering(() => ok()));
  door = await startGateway({
    upstreams: { chat: service.url, content: service.url },
    timings: { lingerMs: 30 },
    env: QUIET,
  });
});
beforeEach(() => {
  service.requests.length = 0;
});
afterAll(async () => {
  await door?.stop(100);
  await service?.stop();
});

/** The three ways in which bytes arrive. */
const DELIVERIES = ['whole', 'in two pieces', 'byte by byte'] as const;

async function deliver(one: RawClient, raw: string, way: (typeof DELIVERIES)[number]): Promise<void> {
  const bytes = Buffer.from(raw, 'latin1');
  if (way === 'whole') return one.send(bytes);
  if (way === 'in two pieces') {
    await one.send(bytes.subarray(0, bytes.byteLength / 2));
    await Bun.sleep(2);
    return one.send(bytes.subarray(bytes.byteLength / 2));
  }
  for (let at = 0; at < bytes.byteLength && !one.ending; at++) {
    await one.send(bytes.subarray(at, at + 1));
    // Now and then a turn for the gateway; the kernel joins what comes in between as it likes.
    if (at % 8 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

const ROUTED = /^\/api\/chat(\/|$)/;
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);
/** What of a vector the service must see, at the path where JSON goes or where uploads do. */
const expected = (requests: SeenRequest[]): string[] =>
  requests
    .filter(({ method, target }) => ROUTED.test(target) && METHODS.has(method))
    .map(({ method, target, body }) => `${method} ${target} ${body}`);
const recorded = (requests: RequestMessage[]): string[] =>
  requests.map(({ method, target, body }) => `${method} ${target} ${body.toString('latin1')}`);

async function check({ raw, outcome }: RequestVector, way: (typeof DELIVERIES)[number]): Promise<void> {
  const one = await RawClient.open(door.port);
  try {
    void deliver(one, raw, way);
    if ('refused' in outcome) await checkRefused(one, outcome);
    else if ('waits' in outcome) await checkWaits(one);
    else await checkPassed(one, outcome.requests);
    expect(service.faults).toEqual([]);
    expect(JSON.stringify(recorded(service.requests))).not.toContain('smuggled');
  } finally {
    one.close();
  }
}

async function checkRefused(one: RawClient, outcome: RequestOutcome & { refused: number }): Promise<void> {
  const reply = await one.reply();
  expect(reply.status).toBe(outcome.refused);
  expect(JSON.parse(String(reply.body)).status).toBe(outcome.refused);
  await one.ended();
  expect([one.text, recorded(service.requests)]).toEqual(['', []]);
}

async function checkWaits(one: RawClient): Promise<void> {
  await Bun.sleep(60);
  expect([one.text, one.ending, recorded(service.requests)]).toEqual(['', undefined, []]);
}

/** As many replies as requests, and the next request on the connection gets the next reply. */
async function checkPassed(one: RawClient, requests: SeenRequest[]): Promise<void> {
  for (const { method } of requests) await one.reply(method);
  expect(recorded(service.requests)).toEqual(expected(requests));
  if (one.ending === undefined) {
    await Bun.sleep(0);
    const next = await one.ask(get('/healthz')).catch(() => undefined);
    if (next) expect(String(next.body)).toBe('{"status":"ok"}');
  }
  expect(one.text).toBe('');
}

describe('requests', () => {
  for (const vector of requestVectors(AUTH)) {
    test(vector.name, async () => {
      for (const way of DELIVERIES) {
        if (way === 'byte by byte' && vector.raw.length > 3_000) continue;
        service.requests.length = 0;
        await check(vector, way);
      }
    });
  }
});

describe('requests whose body streams', () => {
  for (const { name, raw, outcome } of requestVectors(AUTH)) {
    if (!raw.startsWith(`POST ${JSON_PATH} `)) continue;
    test(name, async () => {
      const upload = raw.replaceAll(`POST ${JSON_PATH} `, `POST ${UPLOAD_PATH} `);
      const one = await RawClient.open(door.port);
      const faults = service.faults.length;
      try {
        void deliver(one, upload, 'whole');
        if ('refused' in outcome) {
          // The service may have had the beginning of a body, but never a whole request.
          const reply = await one.reply('POST');
          expect(reply.status).toBe(outcome.refused);
          await one.ended();
          expect(one.text).toBe('');
          expect(recorded(service.requests)).toEqual([]);
        } else if ('requests' in outcome) {
          for (const { method } of outcome.requests) {
            let reply = await one.reply(method);
            while (reply.status < 200) reply = await one.reply(method);
          }
          expect(recorded(service.requests)).toEqual(
            outcome.requests.map(
              ({ method, target, body }) => `${method} ${method === 'POST' ? UPLOAD_PATH : target} ${body}`,
            ),
          );
          expect(service.requests[0]!.trailers.flat()).toEqual(outcome.requests[0]!.trailers ?? []);
          expect(service.faults.length).toBe(faults);
        }
        expect(JSON.stringify(recorded(service.requests))).not.toContain('smuggled');
      } finally {
        one.close();
      }
      // Half a request that ended with its connection is no fault of the gateway's.
      expect(service.faults.slice(faults).filter((fault) => !fault.includes('half a request'))).toEqual([]);
      service.faults.length = 0;
    });
  }
});

describe('replies', () => {
  const { stopAll, rawUpstream, gateway, client } = startedOnWire();
  afterAll(stopAll);

  for (const { name, raw, method = 'GET', closed = false, outcome } of responseVectors()) {
    test(name, async () => {
      const content = await rawUpstream(async (peer, index) => {
        for (let turn = 0; ; turn++) {
          if (!(await peer.request())) return;
          if (turn > 0 || (index > 0 && 'replies' in outcome)) {
            await peer.send(ok('next'));
            continue;
          }
          await peer.send(raw);
          if (closed) return peer.halfClose();
        }
      });
      const door = await gateway({
        upstreams: { content: content.url },
        timings: { idleMs: 200, firstByteMs: 200 },
      });
      const one = await client(door.port);
      await one.send(get('/api/content/courses').replace('GET', method));
      if ('replies' in outcome) {
        const finals: ResponseMessage[] = [];
        for (const { status } of outcome.replies) if (status !== 100) finals.push(await one.reply(method));
        const seen = outcome.replies
          .filter(({ status }) => status !== 100)
          .map(({ status, body, trailers }) => ({ status, body, trailers: trailers ?? [] }));
        expect(
          finals.map(({ status, body, trailers }) => ({
            status,
            body: body.toString('latin1'),
            trailers: trailers.flat(),
          })),
        ).toEqual(seen);
        expect(String((await one.ask(get('/api/content/courses'))).body)).toBe('next');
        expect(content.peers.length).toBe(outcome.replies.at(-1)!.reusable ? 1 : 2);
        return;
      }
      // A clear answer, or a connection that visibly broke off; never what looks whole.
      const heard = await one.wait('an answer or an end', () => {
        if (one.ending === 'reset') return 'broken off';
        let bytes = one.rest;
        for (
          let reply = readResponse(bytes, method, one.ending === 'end');
          reply;
          reply = readResponse(bytes, method, one.ending === 'end')
        ) {
          if (reply.status >= 200) return String(reply.status);
          bytes = bytes.subarray(reply.raw.byteLength);
        }
        return one.ending;
      });
      expect(heard).toBeOneOf(
        closed || !('waits' in outcome) ? ['502', 'broken off'] : ['504', 'broken off'],
      );
    });
  }
});
