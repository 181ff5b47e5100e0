import type { EphemeralStore } from '../../ports/ephemeral-store.ts';
import { decisionOf, LocalBuckets } from '../../ports/token-bucket.ts';

/** Milliseconds between sweeps of what has run out. */
const SWEEP_MS = 10_000;

/** The ephemeral store of one process: for `npm start` and for tests. */
export function openMemoryStore(): EphemeralStore {
  const values = new Map<string, { value: string; until: number }>();
  const buckets = new LocalBuckets();
  const sets = new Map<string, Map<string, number>>();
  const listeners = new Map<string, Set<(message: string) => void>>();

  const live = (key: string): string | null => {
    const entry = values.get(key);
    return entry !== undefined && entry.until > Date.now() ? entry.value : null;
  };

  const sweep = setInterval(() => {
    const now = Date.now();
    for (const [key, { until }] of values) if (until <= now) values.delete(key);
    buckets.sweep();
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
      buckets.delete(key);
    },
    async takeTokens(key, bucket) {
      return decisionOf(bucket, bucket.cost ?? 1, buckets.take({ ...bucket, key }));
    },
    async takeTokensMany(requests) {
      return requests.map((request) => buckets.take(request));
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
