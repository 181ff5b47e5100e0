import { afterEach, describe, expect, test } from 'bun:test';
import { openMemoryStore } from '../../shared/adapters/ephemeral-store/memory.ts';
import { type Caller, createTokenVerifier, localKeys } from '../../shared/auth/tokens.ts';
import { Problem } from '../../shared/errors.ts';
import { silentLog } from '../../shared/observability/log.ts';
import { createMetrics } from '../../shared/observability/metrics.ts';
import { newTestKey } from '../../shared/testing/access-tokens.ts';
import { gatewayMetrics } from '../metrics.ts';
import { createAuthentication } from './authenticate.ts';
import { createRateLimiter } from './rate-limit.ts';

const key = await newTestKey();
const keys = localKeys({ keys: [key.publicJwk] });
const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0)) await close();
});

function open(scale = 1) {
  const store = openMemoryStore();
  const tokens = createTokenVerifier(keys, store);
  const metrics = gatewayMetrics(createMetrics('gateway'));
  const limiter = createRateLimiter({ store, scale, storeMs: 50, metrics, log: silentLog });
  closings.push(
    () => limiter.close(),
    () => tokens.close(),
    () => store.close(),
  );
  const seen = { verified: 0 };
  const watched = {
    knownHeader: tokens.knownHeader,
    fromHeader(header: string | null | undefined) {
      seen.verified++;
      return tokens.fromHeader(header);
    },
  };
  return { authenticate: createAuthentication(watched, limiter), seen };
}

function subject(authorization?: string, address = '203.0.113.1') {
  const headers: Record<string, string> = {};
  return {
    caller: undefined as Caller | undefined,
    address,
    header: (name: string) => (name === 'authorization' ? authorization : undefined),
    setHeader: (name: string, value: string) => {
      headers[name] = value;
    },
    headers,
  };
}

const outcome = async (work: () => void | Promise<void>): Promise<string | Problem> => {
  try {
    await work();
    return 'ok';
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
};
const codeOf = async (work: () => void | Promise<void>): Promise<string> => {
  const result = await outcome(work);
  return typeof result === 'string' ? result : result.code;
};

describe('the first token check', () => {
  test('waits for a token that is new, and no more after that', async () => {
    const { authenticate, seen } = open();
    const header = `Bearer ${await key.sign()}`;
    const first = subject(header);
    const waiting = authenticate(first, 'required');
    expect(waiting).toBeInstanceOf(Promise);
    await waiting;
    const second = subject(header);
    expect(authenticate(second, 'optional')).toBeUndefined();
    expect(second.caller).toBe(first.caller!);
    expect(seen.verified).toBe(1);
  });

  test('looks at none where none is needed, and lets nobody in without where one is', async () => {
    const { authenticate, seen } = open();
    expect(authenticate(subject('Bearer nonsense'), 'none')).toBeUndefined();
    expect(authenticate(subject(), 'optional')).toBeUndefined();
    expect(authenticate(subject(''), 'optional')).toBeUndefined();
    expect(seen.verified).toBe(0);
    const refused = await outcome(() => authenticate(subject(), 'required'));
    expect(refused).toMatchObject({
      code: 'unauthenticated',
      headers: { 'www-authenticate': 'Bearer realm="lyceum"' },
    });
  });

  test('refuses a token that does not hold, also where it is optional, with a challenge', async () => {
    const { authenticate } = open();
    const expired = await key.sign({ exp: Math.floor(Date.now() / 1_000) - 60 });
    for (const [header, code] of [
      ['Bearer nonsense', 'unauthenticated'],
      ['Basic YTpi', 'unauthenticated'],
      [`Bearer ${expired}`, 'token-expired'],
    ] as const) {
      expect(await outcome(() => authenticate(subject(header), 'optional'))).toMatchObject({
        code,
        headers: { 'www-authenticate': 'Bearer realm="lyceum", error="invalid_token"' },
      });
    }
  });

  test('counts refused tokens against their address: past the limit no new one is looked at, known ones pass', async () => {
    const { authenticate, seen } = open(0.01);
    const header = `Bearer ${await key.sign()}`;
    await authenticate(subject(header), 'required');
    const codes: string[] = [];
    for (let i = 0; i < 60; i++)
      codes.push(await codeOf(() => authenticate(subject(`Bearer bad${i}`), 'required')));
    expect(codes.slice(0, 30)).toEqual(Array(30).fill('unauthenticated'));
    // Three a second come back.
    expect(codes.filter((code) => code === 'rate-limited').length).toBeGreaterThan(20);
    expect(seen.verified).toBeLessThan(40);
    expect(await codeOf(() => authenticate(subject(header), 'required'))).toBe('ok');
    expect(await codeOf(() => authenticate(subject('Bearer bad', '203.0.113.2'), 'required'))).toBe(
      'unauthenticated',
    );
  });

  test('without a key set it is not the token that is wrong', async () => {
    const { authenticate } = open();
    const { limiter } = { limiter: { take: () => undefined, blockedSeconds: () => 0 } };
    const away = createAuthentication(
      {
        knownHeader: () => undefined,
        fromHeader: () => Promise.reject(new Problem('upstream-unavailable')),
      },
      limiter,
    );
    expect(await codeOf(() => away(subject('Bearer x'), 'required'))).toBe('upstream-unavailable');
    expect(await codeOf(() => authenticate(subject('Bearer x'), 'required'))).toBe('unauthenticated');
  });
});
