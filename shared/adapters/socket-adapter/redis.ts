import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter';
import { Redis, type RedisOptions } from 'ioredis';
import { unavailable } from '../../errors.ts';
import type { SocketAdapter } from '../../ports/socket-adapter.ts';

/**
 * Joins the Socket.IO servers of all processes through Redis pub/sub: at most once, so clients close gaps by
 * their rooms' message numbers. While Redis is away, broadcasts reach this process's own sockets and are not
 * kept for the others; subscriptions are renewed when it is back.
 *
 * `sharded` takes sharded pub/sub (Redis 7 and later), one channel a namespace: in a Redis Cluster a broadcast then
 * stays on one shard. On a single Redis both cost the same. All processes must choose alike.
 */
export function openRedisSocketAdapter({
  url,
  log,
  sharded = false,
}: {
  url: string;
  log: { warn(fields: object, text: string): void };
  sharded?: boolean;
}): SocketAdapter {
  const options: RedisOptions = {
    connectTimeout: 5_000,
    retryStrategy: (attempt) => Math.min(attempt * 100, 1_000),
    keepAlive: 10_000,
  };
  // What waits for Redis is dropped after one failed attempt: a broadcast minutes late would only confuse.
  const publisher = new Redis(url, {
    ...options,
    maxRetriesPerRequest: 1,
    enableAutoPipelining: true,
    commandTimeout: 2_000,
  });
  const subscriber = new Redis(url, { ...options, maxRetriesPerRequest: null, autoResubscribe: true });
  for (const client of [publisher, subscriber]) {
    client.on('error', (error: Error) =>
      log.warn({ err: error }, 'socket adapter: connection to redis lost or refused'),
    );
  }
  // The adapters don't look at what `publish` returns; a rejection nobody handles would end the process.
  const noted =
    (publish: (channel: string, message: string | Buffer) => Promise<unknown>) =>
    (channel: string, message: string | Buffer): Promise<unknown> =>
      publish(channel, message).catch((error: unknown) => {
        log.warn({ err: error }, 'socket adapter: a broadcast did not reach the other processes');
        return 0;
      });
  publisher.publish = noted(publisher.publish.bind(publisher)) as typeof publisher.publish;
  publisher.spublish = noted(publisher.spublish.bind(publisher)) as typeof publisher.spublish;

  return {
    attach(io) {
      io.adapter(
        sharded
          ? // A channel for each room would be one for each user too, subscribed to at every connect.
            createShardedAdapter(publisher, subscriber, { subscriptionMode: 'static' })
          : createAdapter(publisher, subscriber, { publishOnSpecificResponseChannel: true }),
      );
    },
    async ready() {
      try {
        await publisher.ping();
      } catch (error) {
        throw unavailable('The link between chat processes', error);
      }
      if (subscriber.status !== 'ready') throw unavailable('The link between chat processes');
    },
    async close() {
      publisher.disconnect();
      subscriber.disconnect();
    },
  };
}
