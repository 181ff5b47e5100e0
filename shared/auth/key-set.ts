import { importJWK, type JSONWebKeySet } from 'jose';
import { z } from 'zod';
import { unavailable } from '../errors.ts';

/** The public keys that access tokens are verified with (RFC 7517). */
export interface KeySet {
  /** The key of that id, if it is known already. Never waits; refreshes in the background what has become old. */
  known(kid: string): CryptoKey | undefined;
  /** The same, asking the source first if it has to. Rejects with `upstream-unavailable` when that can't be asked. */
  find(kid: string): Promise<CryptoKey | undefined>;
  /** Refreshes in the background, if it is time. */
  refresh(): void;
  /** Counts up whenever a key has been withdrawn: what it had signed is worth nothing any more. */
  readonly withdrawals: number;
}

/** In milliseconds. */
const TIMINGS = {
  /**
   * Older than this, keys are fetched again in the background. Less than the time for which a new key is published
   * before it signs, so that most processes know it before its first token comes.
   */
  freshMs: 15_000,
  /** Between two fetches for ids that nobody knows. */
  cooldownMs: 5_000,
  /** After a fetch that failed. */
  retryMs: 1_000,
};
const FETCH_TIMEOUT_MS = 3_000;

const Published = z.object({ keys: z.array(z.record(z.string(), z.unknown())) });
const Ed25519Key = z.object({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  kid: z.string().min(1).max(100),
  x: z.string(),
});

/**
 * The keys that auth publishes, over HTTP. What is known goes on being used while auth is away; an unknown id asks for
 * it at most every 5 s, once for all who wait. Of several replicas of auth, the one that answered last is asked.
 */
export function remoteKeys(from: string | readonly string[], timings: Partial<typeof TIMINGS> = {}): KeySet {
  const { freshMs, cooldownMs, retryMs } = { ...TIMINGS, ...timings };
  const urls = typeof from === 'string' ? [from] : from;
  let answering = 0;
  let keys = new Map<string, CryptoKey>();
  let withdrawals = 0;
  let fetchedAt = Number.NEGATIVE_INFINITY;
  let nextFetchAt = Number.NEGATIVE_INFINITY;
  let failure: unknown;
  let underWay: Promise<void> | undefined;

  async function askEach(): Promise<Map<string, CryptoKey>> {
    for (let left = urls.length; ; left--) {
      try {
        return await askAuth(urls[answering]!);
      } catch (error) {
        answering = (answering + 1) % urls.length;
        if (left <= 1) throw error;
      }
    }
  }

  async function fetchKeys(): Promise<void> {
    try {
      const published = await askEach();
      if ([...keys.keys()].some((kid) => !published.has(kid))) withdrawals++;
      keys = published;
      failure = undefined;
      fetchedAt = performance.now();
      nextFetchAt = fetchedAt + cooldownMs;
    } catch (error) {
      failure = error;
      nextFetchAt = performance.now() + retryMs;
    }
  }

  const start = (): Promise<void> =>
    fetchKeys().finally(() => {
      underWay = undefined;
    });

  const refresh = (): void => {
    const now = performance.now();
    if (now - fetchedAt > freshMs && now >= nextFetchAt) underWay ??= start();
  };

  return {
    get withdrawals() {
      return withdrawals;
    },
    refresh,
    known(kid) {
      const key = keys.get(kid);
      if (key !== undefined) refresh();
      return key;
    },
    async find(kid) {
      const key = keys.get(kid);
      if (key !== undefined) return key;
      if (underWay === undefined && performance.now() >= nextFetchAt) underWay = start();
      await underWay;
      const found = keys.get(kid);
      // Whether it is genuine can't be told while auth can't be asked.
      if (found === undefined && failure !== undefined) throw unavailable('The key set', failure);
      return found;
    },
  };
}

async function askAuth(url: string): Promise<Map<string, CryptoKey>> {
  const response = await fetch(url, {
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  });
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}`);
  const keys = await importKeys(await response.json());
  // Auth always has a key: a set without one is a mistake, not a withdrawal.
  if (keys.size === 0) throw new Error(`${url} has no key that can be used`);
  return keys;
}

/** Keys that never change: for tests. */
export function localKeys(published: JSONWebKeySet): KeySet {
  let keys = new Map<string, CryptoKey>();
  const imported = importKeys(published).then((all) => {
    keys = all;
  });
  return {
    withdrawals: 0,
    refresh() {},
    known: (kid) => keys.get(kid),
    async find(kid) {
      await imported;
      return keys.get(kid);
    },
  };
}

/** The Ed25519 keys of a set by their ids; others are passed over. */
async function importKeys(json: unknown): Promise<Map<string, CryptoKey>> {
  const keys = new Map<string, CryptoKey>();
  for (const entry of Published.parse(json).keys) {
    const jwk = Ed25519Key.safeParse(entry);
    if (jwk.success) keys.set(jwk.data.kid, (await importJWK(jwk.data, 'EdDSA')) as CryptoKey);
  }
  return keys;
}
