import { Redis, type RedisOptions } from 'ioredis';
import { unavailable } from '../../errors.ts';
import type { EphemeralStore } from '../../ports/ephemeral-store.ts';

/** Milliseconds: no command may keep a request waiting longer, whatever Redis does. */
const COMMAND_TIMEOUT_MS = 1_000;

/**
 * Token bucket. KEYS[1] a hash of tokens and the time they were counted; ARGV capacity, tokens per second, cost.
 * Time is Redis's own, so that processes with different clocks share one bucket. Replies allowed, tokens left
 * (as text: Redis cuts numbers to integers). The key goes when the bucket would be full again.
 */
const TAKE_TOKENS = `
local capacity, rate, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(bucket[1]) or capacity
local at = tonumber(bucket[2]) or now
tokens = math.min(capacity, tokens + math.max(0, now - at) / 1000 * rate)
local allowed = 0
if tokens + 0.001 >= cost then
  allowed = 1
  tokens = math.max(0, tokens - cost)
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.3f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((capacity - tokens) / rate * 1000) + 1000)
return {allowed, string.format('%.6f', tokens)}`;

/** KEYS[1] a sorted set by time of expiry; ARGV member, milliseconds. Replies whether it is new. */
const TOUCH_MEMBER = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local added = redis.call('ZADD', KEYS[1], now + ttl, ARGV[1])
if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
return added`;

/** KEYS[1] the set, ARGV member. Replies whether it was there and had not run out. */
const REMOVE_MEMBER = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
if score and tonumber(score) > now then return 1 end
return 0`;

const MEMBERS = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')`;

interface Scripts {
  takeTokens(key: string, capacity: number, perSecond: number, cost: number): Promise<[number, string]>;
  touchMember(key: string, member: string, ttlMs: number): Promise<number>;
  removeMember(key: string, member: string): Promise<number>;
  listMembers(key: string): Promise<string[]>;
}

const COMMON: RedisOptions = {
  connectTimeout: 5_000,
  // Milliseconds between attempts, for ever.
  retryStrategy: (attempt) => Math.min(attempt * 100, 1_000),
  keepAlive: 10_000,
};

/**
 * The ephemeral store that processes share, on Redis 6.2 or newer. Connects in the background and again after
 * each loss. While Redis is away, or frozen, every command rejects within a second with 503 `upstream-unavailable`.
 */
export function openRedis({
  url,
  log,
}: {
  url: string;
  log: { warn(fields: object, text: string): void };
}): EphemeralStore {
  const redis = new Redis(url, {
    ...COMMON,
    maxRetriesPerRequest: 1,
    commandTimeout: COMMAND_TIMEOUT_MS,
    enableAutoPipelining: true,
    scripts: {
      takeTokens: { lua: TAKE_TOKENS, numberOfKeys: 1 },
      touchMember: { lua: TOUCH_MEMBER, numberOfKeys: 1 },
      removeMember: { lua: REMOVE_MEMBER, numberOfKeys: 1 },
      listMembers: { lua: MEMBERS, numberOfKeys: 1, readOnly: true },
    },
  });
  // Once it has been up, commands don't queue for the next connection: they fail at once, and the caller decides.
  redis.once('ready', () => {
    redis.options.enableOfflineQueue = false;
  });
  const scripts = redis as unknown as Scripts;
  const subscriber = new Redis(url, { ...COMMON, maxRetriesPerRequest: null, autoResubscribe: true });
  for (const client of [redis, subscriber]) {
    let last = '';
    client.on('error', (error: Error) => {
      if (error.message !== last) log.warn({ err: error }, 'redis: connection lost or refused');
      last = error.message;
    });
    client.on('ready', () => {
      last = '';
    });
  }

  const listeners = new Map<string, Set<(message: string) => void>>();
  subscriber.on('message', (channel: string, message: string) => {
    for (const listener of listeners.get(channel) ?? []) listener(message);
  });

  const ask = async <T>(command: () => Promise<T>): Promise<T> => {
    try {
      return await command();
    } catch (error) {
      // Replies of Redis itself are bugs of ours, except for these states of the server.
      const isReply =
        (error as Error).name === 'ReplyError' &&
        !/^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN)/.test((error as Error).message);
      throw isReply ? error : unavailable('The store for limits and presence', error);
    }
  };

  return {
    get: (key) => ask(() => redis.get(key)),
    getMany: async (keys) => (keys.length === 0 ? [] : await ask(() => redis.mget(keys))),
    async set(key, value, ttlMs) {
      await ask(() => redis.set(key, value, 'PX', Math.max(1, Math.ceil(ttlMs))));
    },
    async delete(key) {
      await ask(() => redis.del(key));
    },
    async takeTokens(key, { capacity, perSecond, cost = 1 }) {
      const [granted, text] = await ask(() => scripts.takeTokens(key, capacity, perSecond, cost));
      const left = Number(text);
      const allowed = granted === 1;
      const missing = allowed ? capacity - left : cost - left;
      return {
        allowed,
        remaining: Math.floor(left + 0.001),
        resetMs: Math.ceil((missing / perSecond) * 1_000),
      };
    },
    touchMember: async (set, member, ttlMs) =>
      (await ask(() => scripts.touchMember(set, member, Math.ceil(ttlMs)))) === 1,
    removeMember: async (set, member) => (await ask(() => scripts.removeMember(set, member))) === 1,
    members: (set) => ask(() => scripts.listMembers(set)),
    async publish(channel, message) {
      await ask(() => redis.publish(channel, message));
    },
    async subscribe(channel, listener) {
      const all = listeners.get(channel) ?? new Set();
      listeners.set(channel, all);
      const own = (message: string) => listener(message);
      all.add(own);
      // Not awaited while Redis is away: the subscription waits in the queue, and is renewed after each reconnect.
      const subscribed = subscriber
        .subscribe(channel)
        .catch((error: unknown) => log.warn({ err: error, channel }, 'redis: could not subscribe'));
      if (subscriber.status === 'ready') await subscribed;
      return async () => {
        all.delete(own);
        if (all.size > 0 || listeners.get(channel) !== all) return;
        listeners.delete(channel);
        if (subscriber.status === 'ready') await subscriber.unsubscribe(channel).catch(() => {});
      };
    },
    async ready() {
      await ask(() => redis.ping());
    },
    async close() {
      listeners.clear();
      redis.disconnect();
      subscriber.disconnect();
    },
  };
}
