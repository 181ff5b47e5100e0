import type { EphemeralStore, TokenDecision } from '../../ports/ephemeral-store.ts';

/** Milliseconds between sweeps of what has run out. */
const SWEEP_MS = 10_000;

interface Bucket {
  tokens: number;
  at: number;
  fullAt: number;
}

/** The ephemeral store of one process: for `npm start` and for tests. */
export function openMemoryStore(): EphemeralStore {
  const values = new Map<string, { value: string; until: number }>();
  const buckets = new Map<string, Bucket>();
  const sets = new Map<string, Map<string, number>>();
  const listeners = new Map<string, Set<(message: string) => void>>();

  const live = (key: string): string | null => {
    const entry = values.get(key);
    return entry !== undefined && entry.until > Date.now() ? entry.value : null;
  };

  const sweep = setInterval(() => {
    const now = Date.now();
    for (const [key, { until }] of values) if (until <= now) values.delete(key);
    for (const [key, { fullAt }] of buckets) if (fullAt <= now) buckets.delete(key);
    for (const [key, members] of sets) {
      for (const [member, until] of members) if (until <= now) members.delete(member);
      if (members.size === 0) sets.delete(key);
    }
  }, SWEEP_MS);
  sweep.unref?.();

  return {
    async get(key) {
      return live(key);
    },
    async getMany(keys) {
      return keys.map(live);
    },
    async set(key, value, ttlMs) {
      values.set(key, { value, until: Date.now() + ttlMs });
    },
    async delete(key) {
      values.delete(key);
    },
    async takeTokens(key, { capacity, perSecond, cost = 1 }) {
      const now = Date.now();
      const bucket = buckets.get(key) ?? { tokens: capacity, at: now, fullAt: now };
      const tokens = Math.min(capacity, bucket.tokens + ((now - bucket.at) / 1_000) * perSecond);
      const decision = decide(tokens, { capacity, perSecond, cost });
      const left = decision.allowed ? tokens - cost : tokens;
      buckets.set(key, { tokens: left, at: now, fullAt: now + ((capacity - left) / perSecond) * 1_000 });
      return decision;
    },
    async touchMember(set, member, ttlMs) {
      const members = sets.get(set) ?? new Map<string, number>();
      sets.set(set, members);
      const now = Date.now();
      const added = (members.get(member) ?? 0) <= now;
      members.set(member, now + ttlMs);
      return added;
    },
    async removeMember(set, member) {
      const members = sets.get(set);
      const there = (members?.get(member) ?? 0) > Date.now();
      members?.delete(member);
      return there;
    },
    async members(set) {
      const now = Date.now();
      return [...(sets.get(set) ?? [])].filter(([, until]) => until > now).map(([member]) => member);
    },
    async publish(channel, message) {
      // In a later task, as over a network: a listener never runs inside its publisher.
      for (const listener of listeners.get(channel) ?? []) setTimeout(() => listener(message), 0);
    },
    async subscribe(channel, listener) {
      const all = listeners.get(channel) ?? new Set();
      listeners.set(channel, all);
      // Its own function, so that one listener may subscribe twice.
      const own = (message: string) => {
        if (all.has(own)) listener(message);
      };
      all.add(own);
      return async () => {
        all.delete(own);
      };
    },
    async ready() {},
    async close() {
      clearInterval(sweep);
      listeners.clear();
    },
  };
}

/** What a bucket that holds `tokens` now answers to a request for `cost` of them (the token bucket of RFC 2697, one rate). */
export function decide(
  tokens: number,
  bucket: { capacity: number; perSecond: number; cost: number },
): TokenDecision {
  const { capacity, perSecond, cost } = bucket;
  // A thousandth of slack: what refills by fractions must not miss a whole token by a rounding error.
  const allowed = tokens + 0.001 >= cost;
  const left = allowed ? Math.max(0, tokens - cost) : tokens;
  const missing = allowed ? capacity - left : cost - left;
  return { allowed, remaining: Math.floor(left + 0.001), resetMs: Math.ceil((missing / perSecond) * 1_000) };
}
