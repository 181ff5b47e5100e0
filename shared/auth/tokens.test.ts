import { afterEach, describe, expect, test } from 'bun:test';
import { openMemoryStore } from '../adapters/ephemeral-store/memory.ts';
import { openRedis } from '../adapters/ephemeral-store/redis.ts';
import { Problem } from '../errors.ts';
import { newId } from '../ids.ts';
import type { EphemeralStore } from '../ports/ephemeral-store.ts';
import { newTestKey } from '../testing/access-tokens.ts';
import { realServer } from '../testing/servers.ts';
import { tcpProxy } from '../testing/tcp-proxy.ts';
import type { KeySet } from './key-set.ts';
import { announceRevoked, announceRole, markRevoked, markRole } from './revocations.ts';
import { createTokenVerifier, localKeys, type TokenVerifier } from './tokens.ts';

const key = await newTestKey();
const keys = localKeys({ keys: [key.publicJwk] });
const redis = await realServer('redis');
const log = { warn: () => {} };
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => Math.floor(Date.now() / 1_000);

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});
function verifier(store: EphemeralStore, options?: { storeMs?: number }, from: KeySet = keys): TokenVerifier {
  const tokens = createTokenVerifier(from, store, options);
  closings.push(() => tokens.close());
  return tokens;
}
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error) => (error instanceof Problem ? error.code : String(error)),
  );

/** Uses a token as the gateway does, all the time, until it is no longer known. Milliseconds. */
async function untilUnknown(tokens: TokenVerifier, header: string, limitMs = 3_000): Promise<number> {
  const started = performance.now();
  while (tokens.knownHeader(header) !== undefined) {
    if (performance.now() - started > limitMs) return Number.POSITIVE_INFINITY;
    await sleep(2);
  }
  return performance.now() - started;
}

/** Fetching keys and checking signatures, counted. */
function counted(): KeySet & { looks: number } {
  return {
    withdrawals: 0,
    looks: 0,
    refresh() {},
    known(kid) {
      this.looks++;
      return keys.known(kid);
    },
    find: (kid) => keys.find(kid),
  };
}

describe('an access token', () => {
  test('says who calls; from then on that is known without waiting', async () => {
    const tokens = verifier(openMemoryStore());
    const [userId, sessionId] = [newId(), newId()];
    const token = await key.sign({ sub: userId, sid: sessionId, role: 'teacher', exp: now() + 60 });
    const header = `Bearer ${token}`;
    expect(tokens.knownHeader(header)).toBeUndefined();
    const caller = await tokens.fromHeader(header);
    expect(caller).toEqual({
      userId,
      sessionId,
      role: 'teacher',
      name: 'Ada',
      expiresAt: expect.any(Number),
    });
    expect(tokens.knownHeader(header)).toBe(caller!);
    // What came as a header is known as that header; a bare token is known as a bare one.
    expect(tokens.known(token)).toBeUndefined();
    await tokens.verify(token);
    expect(tokens.known(token)).toEqual(caller!);
  });

  test('is checked once for all who present it at the same time', async () => {
    const from = counted();
    const tokens = verifier(openMemoryStore(), {}, from);
    const header = `Bearer ${await key.sign()}`;
    const callers = await Promise.all(Array.from({ length: 50 }, () => tokens.fromHeader(header)));
    expect(new Set(callers).size).toBe(1);
    expect(from.looks).toBe(1);
  });

  test('that has run out is no longer known, but for the tolerance of clocks', async () => {
    const tokens = verifier(openMemoryStore());
    const soon = `Bearer ${await key.sign({ exp: now() - 4 })}`;
    expect((await tokens.fromHeader(soon))?.role).toBe('learner');
    expect(tokens.knownHeader(soon)).toBeDefined();
    await sleep(2_100);
    expect(tokens.knownHeader(soon)).toBeUndefined();
    expect(await codeOf(tokens.fromHeader(soon))).toBe('token-expired');
  });

  test.each([
    ['exp', { exp: -6 }, 'token-expired'],
    ['exp', { exp: -4 }, 'ok'],
    ['iat', { iat: 7 }, 'unauthenticated'],
    ['iat', { iat: 4 }, 'ok'],
    ['nbf', { nbf: 7 }, 'unauthenticated'],
    ['nbf', { nbf: 4 }, 'ok'],
  ] as const)('whose %s is so many seconds from now %j: %s', async (_, claims, outcome) => {
    const tokens = verifier(openMemoryStore());
    const absolute = Object.fromEntries(Object.entries(claims).map(([name, at]) => [name, now() + at]));
    expect(await codeOf(tokens.verify(await key.sign(absolute)))).toBe(outcome);
  });

  test('that is not valid yet is good when its time has come', async () => {
    const tokens = verifier(openMemoryStore());
    const token = await key.sign({ nbf: now() + 7 });
    expect(await codeOf(tokens.verify(token))).toBe('unauthenticated');
    await sleep(2_500);
    expect(await codeOf(tokens.verify(token))).toBe('ok');
  });

  test('is refused if anything is wrong with it', async () => {
    const tokens = verifier(openMemoryStore());
    const good = await key.sign();
    const [header, payload, signature] = good.split('.') as [string, string, string];
    const other = await newTestKey(key.kid);
    const bad: Record<string, string> = {
      empty: '',
      'one part': header,
      'two parts': `${header}.${payload}`,
      'four parts': `${good}.x`,
      'no signature': `${header}.${payload}.`,
      'a short signature': good.slice(0, -1),
      'another’s signature': `${header}.${payload}.${(await key.sign()).split('.')[2]}`,
      'another’s key with our id': await other.sign(),
      'an unknown key id': await key.sign({}, { kid: 'nobody' }),
      'no key id': await key.sign({}, { kid: undefined }),
      'no audience': await key.sign({ aud: undefined }),
      'another issuer': await key.sign({ iss: 'elsewhere' }),
      'no end': await key.sign({ exp: undefined }),
      'no session': await key.sign({ sid: undefined }),
      'a role that is none': await key.sign({ role: 'root' }),
      'a subject that is no id': await key.sign({ sub: 'somebody' }),
      'too long': await key.sign({ name: 'x'.repeat(5_000) }),
      'alg none': `${Buffer.from(`{"alg":"none","kid":"${key.kid}"}`).toString('base64url')}.${payload}.${signature}`,
      'a header that is no JSON': `${Buffer.from('{').toString('base64url')}.${payload}.${signature}`,
      'characters that are none of base64url': `${header}.${payload}.${'*'.repeat(86)}`,
    };
    for (const [what, token] of Object.entries(bad)) {
      // Twice: what is remembered is refused the same way.
      for (const turn of [1, 2])
        expect([what, turn, await codeOf(tokens.verify(token))]).toEqual([what, turn, 'unauthenticated']);
      expect(tokens.known(token)).toBeUndefined();
    }
    for (const authorization of ['Bearer', `Basic ${good}`, good, `Bearer ${good} x`, `Bearer  ${good}`])
      expect([authorization, await codeOf(tokens.fromHeader(authorization))]).toEqual([
        authorization,
        'unauthenticated',
      ]);
    expect(await tokens.fromHeader('')).toBeUndefined();
    expect(await tokens.fromHeader(undefined)).toBeUndefined();
  });

  test('a bad one sent again and again costs one signature check; one that looks like none of ours costs none', async () => {
    const from = counted();
    const tokens = verifier(openMemoryStore(), {}, from);
    const [header, payload] = (await key.sign()).split('.');
    const forged = `Bearer ${header}.${payload}.${'A'.repeat(86)}`;
    for (let turn = 0; turn < 100; turn++)
      expect(await codeOf(tokens.fromHeader(forged))).toBe('unauthenticated');
    expect(from.looks).toBe(1);
    const garbage = ['x', 'a.b.c', `${'a'.repeat(5_000)}.b.${'A'.repeat(86)}`, `a.b.${'A'.repeat(86)}`];
    for (const token of garbage) expect(await codeOf(tokens.verify(token))).toBe('unauthenticated');
    expect(from.looks).toBe(1);
  });

  test('more tokens than are kept: those that are in use stay known', async () => {
    const store = openMemoryStore();
    const tokens = verifier(store);
    const busy = `Bearer ${await key.sign()}`;
    await tokens.fromHeader(busy);
    const bySession = newId();
    // Garbage is not kept, so only good tokens can push others out; signing ten thousand takes a second or two.
    for (let turn = 0; turn < 10_500; turn += 100) {
      const batch = await Promise.all(
        Array.from({ length: 100 }, (_, i) => key.sign({ sid: bySession, jti: `${turn + i}` })),
      );
      await Promise.all(batch.map((token) => tokens.verify(token)));
      expect(tokens.knownHeader(busy) ?? (await tokens.fromHeader(busy))).toBeDefined();
    }
    expect(tokens.knownHeader(busy)).toBeDefined();
  });
});

function revocations(open: () => EphemeralStore) {
  const world = () => {
    // Auth, a service and the gateway, each with a connection of its own.
    const [atAuth, atService, atGateway] = [open(), open(), open()];
    return { atAuth, service: verifier(atService), gateway: verifier(atGateway), atGateway };
  };
  const signedIn = async (tokens: TokenVerifier[], claims: Record<string, unknown>) => {
    const header = `Bearer ${await key.sign(claims)}`;
    for (const one of tokens) await one.fromHeader(header);
    return header;
  };

  test('a session that ends: services refuse at once, the gateway as soon as it hears', async () => {
    const { atAuth, service, gateway } = world();
    const sid = newId();
    const header = await signedIn([service, gateway], { sid });
    const other = await signedIn([service, gateway], {});
    await sleep(50);
    await markRevoked(atAuth, [sid], 60_000);
    expect(await codeOf(service.fromHeader(header))).toBe('unauthenticated');
    // The gateway has two ways to know. This is the message alone, for a session without a mark.
    const heard = newId();
    const hearing = await signedIn([gateway], { sid: heard });
    await announceRevoked(atAuth, [heard]);
    expect(await untilUnknown(gateway, hearing)).toBeFinite();
    expect(await untilUnknown(gateway, header)).toBeFinite();
    expect(await codeOf(gateway.fromHeader(header))).toBe('unauthenticated');
    expect(await codeOf(service.fromHeader(other))).toBe('ok');
    // It stays over, whatever becomes of the store.
    await atAuth.delete(`revoked:${sid}`);
    expect(await codeOf(service.fromHeader(header))).toBe('unauthenticated');
    expect(gateway.knownHeader(header)).toBeUndefined();
  });

  test('a role that changes: tokens with the old one are refused, also if it changes back', async () => {
    const { atAuth, service, gateway } = world();
    const sub = newId();
    const learner = await signedIn([service, gateway], { sub, role: 'learner' });
    await sleep(50);
    await markRole(atAuth, sub, 'teacher', 60_000);
    await announceRole(atAuth, sub, 'teacher');
    expect(await codeOf(service.fromHeader(learner))).toBe('token-expired');
    expect(await untilUnknown(gateway, learner)).toBeFinite();
    expect(await codeOf(gateway.fromHeader(learner))).toBe('token-expired');
    const teacher = await signedIn([service, gateway], { sub, role: 'teacher' });
    expect(gateway.knownHeader(teacher)?.role).toBe('teacher');
    await markRole(atAuth, sub, 'learner', 60_000);
    await announceRole(atAuth, sub, 'learner');
    expect(await codeOf(service.fromHeader(teacher))).toBe('token-expired');
    expect(await codeOf(service.fromHeader(learner))).toBe('ok');
    expect(await untilUnknown(gateway, teacher)).toBeFinite();
  });

  test('a message that is lost costs the gateway a second at most', async () => {
    const { atAuth, atGateway } = world();
    const deaf = verifier({ ...atGateway, subscribe: async () => async () => {} });
    const [sid, sub] = [newId(), newId()];
    const ending = await signedIn([deaf], { sid });
    const changing = await signedIn([deaf], { sub });
    const staying = await signedIn([deaf], {});
    const inUse = setInterval(() => [ending, changing, staying].map((header) => deaf.knownHeader(header)), 2);
    await sleep(300);
    // On a machine that stands still, what is known may be too old for a moment; using it brings it back.
    while (deaf.knownHeader(ending) === undefined) await sleep(2);
    await markRevoked(atAuth, [sid], 60_000);
    await markRole(atAuth, sub, 'teacher', 60_000);
    const waits = await Promise.all([untilUnknown(deaf, ending), untilUnknown(deaf, changing)]);
    expect(Math.max(...waits)).toBeLessThan(1_000);
    clearInterval(inUse);
    while (deaf.knownHeader(staying) === undefined) await deaf.fromHeader(staying);
  });

  test('what is in use is asked for in one question every so often, what is not is not', async () => {
    const { atGateway } = world();
    let questions = 0;
    const store = {
      ...atGateway,
      getMany(names: string[]) {
        questions++;
        return atGateway.getMany(names);
      },
    };
    const gateway = verifier(store);
    const headers = await Promise.all(Array.from({ length: 40 }, () => signedIn([gateway], {})));
    questions = 0;
    let known = 0;
    let looks = 0;
    for (const until = performance.now() + 1_000; performance.now() < until; await sleep(2)) {
      for (const header of headers) if (gateway.knownHeader(header) !== undefined) known++;
      looks += headers.length;
    }
    // All of them, unless this machine stands still for a quarter of a second.
    expect(known / looks).toBeGreaterThan(0.8);
    expect(questions).toBeGreaterThan(1);
    expect(questions).toBeLessThanOrEqual(5);
    // A session counts as in use for five seconds.
    await sleep(5_500);
    questions = 0;
    await sleep(600);
    expect(questions).toBe(0);
    expect(gateway.knownHeader(headers[0]!)).toBeUndefined();
  });
}

describe('ended sessions, in memory', () => {
  const store = openMemoryStore();
  revocations(() => store);
});

describe.skipIf(redis === undefined)('ended sessions, in Redis (skipped without the real server)', () => {
  if (redis === undefined) return;
  const open = (url = redis.url): EphemeralStore => {
    const store = openRedis({ url, log });
    closings.push(() => store.close());
    return store;
  };
  revocations(() => open());

  for (const state of ['cut off', 'stalled'] as const) {
    test(`while Redis is ${state}, signatures decide and nobody waits twice; afterwards marks count again`, async () => {
      const way = await tcpProxy(redis.url);
      closings.push(() => way.close());
      const store = open(way.url);
      await store.ready();
      const service = verifier(store);
      const gateway = verifier(store, { storeMs: 50 });
      const sid = newId();
      const header = `Bearer ${await key.sign({ sid })}`;
      for (const tokens of [service, gateway]) await tokens.fromHeader(header);

      const gone = state === 'cut off' ? setInterval(() => way.cut(), 5) : undefined;
      if (state === 'stalled') way.stall(true);
      await sleep(20);
      // The first to notice may wait for its time-out, nobody after that.
      const first = performance.now();
      expect(await codeOf(gateway.fromHeader(`Bearer ${await key.sign()}`))).toBe('ok');
      expect(performance.now() - first).toBeLessThan(400);
      expect(await codeOf(service.fromHeader(header))).toBe('ok');
      const later = performance.now();
      for (let turn = 0; turn < 50; turn++) {
        expect(await codeOf(service.fromHeader(header))).toBe('ok');
        expect(await codeOf(gateway.fromHeader(header))).toBe('ok');
        expect(gateway.knownHeader(header)).toBeDefined();
        await sleep(10);
      }
      expect(performance.now() - later).toBeLessThan(1_500);

      // Auth, on a way of its own, ends the session while neither of them can hear of it.
      await markRevoked(open(), [sid], 60_000);
      clearInterval(gone);
      way.stall(false);
      const back = performance.now();
      while ((await codeOf(service.fromHeader(header))) === 'ok') {
        expect(performance.now() - back).toBeLessThan(2_000);
        await sleep(5);
      }
      expect(await untilUnknown(gateway, header)).toBeLessThan(1_500);
    });
  }
});
