import { Redis, type RedisOptions } from 'ioredis';
import { unavailable } from '../../errors.ts';
import type { EphemeralStore } from '../../ports/ephemeral-store.ts';
import { decisionOf, SLACK, type TakeAnswer, type TakeRequest } from '../../ports/token-bucket.ts';
import { within } from '../../wait-for.ts';

/** Milliseconds: no command may keep a request waiting longer, whatever Redis does. */
const COMMAND_TIMEOUT_MS = 1_000;
/**
 * Milliseconds without a byte while an answer is due: then the connection is given up. A peer that vanished without
 * a word would hold it for a quarter of an hour.
 */
const SOCKET_TIMEOUT_MS = 3_000;
/** Nothing is due on the subscriber's connection, so it asks for something every so often. */
const SUBSCRIBER_PING_MS = 5_000;
/** Buckets in one script call: Redis does nothing else meanwhile, some 2 µs each. */
const BATCH = 500;

/**
 * Token buckets, `takeAt` of shared/ports/token-bucket.ts for many of them. KEYS the buckets, each the time at which it
 * is full again; ARGV for each: capacity, tokens per second, cost, 1 to take by force. Time is Redis's own, so that
 * processes with different clocks share one bucket. Replies for each: 1 or 0, and the tokens left (as text: Redis cuts
 * numbers to integers). A key goes when its bucket is full. `pcall`: what else may be at the key counts as a full one.
 */
const TAKE_TOKENS = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local answers = {}
for i, key in ipairs(KEYS) do
  local capacity, rate = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2])
  local cost, force = tonumber(ARGV[4 * i - 1]), ARGV[4 * i] == '1'
  local interval = 1000 / rate
  local kept = redis.pcall('GET', key)
  local full_at = type(kept) == 'string' and tonumber(kept) or now
  local tokens = capacity - math.max(0, full_at - now) / interval
  local allowed = tokens + ${SLACK} >= cost
  if allowed or force then
    tokens = math.min(capacity, math.max(force and -capacity or 0, tokens - cost))
    local fills = (capacity - tokens) * interval
    redis.call('SET', key, string.format('%.3f', now + fills), 'PX', math.ceil(fills) + 1000)
  end
  answers[2 * i - 1] = allowed and 1 or 0
  answers[2 * i] = string.format('%.6f', tokens)
end
return answers`;

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
  takeTokens(count: number, ...keysAndArguments: (string | number)[]): Promise<(number | string)[]>;
  touchMember(key: string, member: string, ttlMs: number): Promise<number>;
  removeMember(key: string, member: string): Promise<number>;
  listMembers(key: string): Promise<string[]>;
}

const COMMON: RedisOptions = {
  connectTimeout: 5_000,
  // Milliseconds between attempts, for ever. Soon: until then this process does not know which sessions have ended.
  retryStrategy: (attempt) => Math.min(attempt * 100, 500),
  keepAlive: 10_000,
  socketTimeout: SOCKET_TIMEOUT_MS,
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
      takeTokens: { lua: TAKE_TOKENS },
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

  const ping = setInterval(() => {
    if (subscriber.status === 'ready') subscriber.ping().catch(() => {});
  }, SUBSCRIBER_PING_MS);
  ping.unref?.();

  const listeners = new Map<string, Set<(message: string) => void>>();
  subscriber.on('message', (channel: string, message: string) => {
    for (const listener of listeners.get(channel) ?? []) listener(message);
  });

  const ask = async <T>(command: () => Promise<T>): Promise<T> => {
    try {
      // ioredis counts from when it writes, and writes one batch after the other.
      return await within(command(), COMMAND_TIMEOUT_MS);
    } catch (error) {
      // Replies of Redis itself are bugs of ours, except for these states of the server.
      const isReply =
        (error as Error).name === 'ReplyError' &&
        !/^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN)/.test((error as Error).message);
      throw isReply ? error : unavailable('The store for limits and presence', error);
    }
  };

  const take = async (requests: readonly TakeRequest[]): Promise<TakeAnswer[]> => {
    const replies = await ask(() =>
      scripts.takeTokens(
        requests.length,
        ...requests.map(({ key }) => key),
        ...requests.flatMap(({ capacity, perSecond, cost = 1, force = false }) => [
          capacity,
          perSecond,
          cost,
          force ? 1 : 0,
        ]),
      ),
    );
    return requests.map((_, index) => ({
      allowed: replies[2 * index] === 1,
      tokens: Number(replies[2 * index + 1]),
    }));
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
    async takeTokens(key, bucket) {
      const [answer] = await take([{ ...bucket, key }]);
      return decisionOf(bucket, bucket.cost ?? 1, answer!);
    },
    async takeTokensMany(requests) {
      const batches: Promise<TakeAnswer[]>[] = [];
      for (let from = 0; from < requests.length; from += BATCH)
        batches.push(take(requests.slice(from, from + BATCH)));
      return (await Promise.all(batches)).flat();
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
      if (subscriber.status === 'ready') await within(subscribed, COMMAND_TIMEOUT_MS).catch(() => {});
      return async () => {
        all.delete(own);
        if (all.size > 0 || listeners.get(channel) !== all) return;
        listeners.delete(channel);
        if (subscriber.status === 'ready')
          await within(subscriber.unsubscribe(channel), COMMAND_TIMEOUT_MS).catch(() => {});
      };
    },
    async ready() {
      await ask(() => redis.ping());
    },
    async close() {
      clearInterval(ping);
      listeners.clear();
      redis.disconnect();
      subscriber.disconnect();
    },
  };
}
