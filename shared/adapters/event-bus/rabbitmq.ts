import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib';
import type { EventEnvelope } from '../../contracts/events.ts';
import { unavailable } from '../../errors.ts';
import { EXCHANGE } from '../../events/topology.ts';
import type { EventBus } from '../../ports/event-bus.ts';
import { RabbitConsumer } from './rabbitmq-consumer.ts';
import { declareTopology } from './rabbitmq-declare.ts';
import { DELIVERY_LIMIT, platformTopology, type Topology } from './topology.ts';

/** Milliseconds without a confirm after which a publish has failed and the connection is not trusted any more. */
const CONFIRM_MS = 5_000;
const CONNECT_MS = 5_000;
/** Seconds; two missed ones end the connection (AMQP 0-9-1, 4.2.7). */
const HEARTBEAT_S = 10;
/** Milliseconds between attempts to connect: doubling from the first to the second. */
const BACKOFF_MS = [100, 2_000] as const;

interface Pending {
  reject(error: unknown): void;
  /** The message came back: no queue is bound to its name. */
  returned: boolean;
}

export interface RabbitOptions {
  url: string;
  log: { info(fields: object, text: string): void; warn(fields: object, text: string): void };
  /** For tests: what to declare instead of the platform's queues. */
  topology?: Topology;
  exchange?: string;
  deliveryLimit?: number;
}

/**
 * The event bus on RabbitMQ 3.10 or newer. Returns at once: it connects in the background, for ever, and declares
 * the topology at each connection. Publishing while there is none rejects with 503 `upstream-unavailable`.
 */
export async function openRabbitmq(options: RabbitOptions): Promise<EventBus> {
  const bus = new Rabbit(options);
  bus.start();
  return {
    publish: (event) => bus.publish(event),
    consume: (queue, handle, { prefetch = 16 } = {}) =>
      bus.consume(new RabbitConsumer(queue, handle, prefetch, options.log)),
    ready: () => bus.ready(),
    close: () => bus.close(),
  };
}

class Rabbit {
  #connection: ChannelModel | undefined;
  /** The one channel for publishing. There only while the topology is declared. */
  #channel: ConfirmChannel | undefined;
  readonly #pending = new Map<string, Pending>();
  readonly #consumers = new Set<RabbitConsumer>();
  #retry: ReturnType<typeof setTimeout> | undefined;
  #wait: number = BACKOFF_MS[0];
  #closed = false;
  #sequence = 0;
  #corked = false;
  readonly #exchange: string;
  readonly #options: RabbitOptions;

  constructor(options: RabbitOptions) {
    this.#options = options;
    this.#exchange = options.exchange ?? EXCHANGE;
  }

  start(): void {
    this.#connect().catch((error: unknown) => {
      if (this.#closed) return;
      // Once per outage is enough.
      if (this.#wait === BACKOFF_MS[0]) this.#options.log.warn({ err: error }, 'event bus: not reachable');
      this.#retry = setTimeout(() => this.start(), this.#wait);
      this.#wait = Math.min(this.#wait * 2, BACKOFF_MS[1]);
    });
  }

  async #connect(): Promise<void> {
    const url = new URL(this.#options.url);
    if (!url.searchParams.has('heartbeat')) url.searchParams.set('heartbeat', String(HEARTBEAT_S));
    const connection = await connect(url.href, {
      timeout: CONNECT_MS,
      noDelay: true,
      clientProperties: { connection_name: 'lyceum' },
    });
    let over = false;
    const lost = (error?: unknown) => {
      if (over) return;
      over = true;
      this.#lost(connection, error);
    };
    // An 'error' nobody listens to would end the process; 'close' follows it.
    connection.on('error', (error) => this.#options.log.warn({ err: error }, 'event bus: connection error'));
    connection.on('close', lost);
    if (this.#closed) return void connection.close().catch(() => {});
    this.#connection = connection;
    try {
      const channel = await deadline(this.#setUp(connection, lost), CONNECT_MS, 'declaring the queues');
      if (over) return;
      this.#channel = channel;
      await deadline(
        Promise.all([...this.#consumers].map((consumer) => consumer.attach(connection))),
        CONNECT_MS,
        'consuming',
      );
      if (over) return;
      this.#wait = BACKOFF_MS[0];
      this.#options.log.info({}, 'event bus: connected');
    } catch (error) {
      if (over) return;
      this.#options.log.warn({ err: error }, 'event bus: could not set up the connection');
      drop(connection);
      lost(error);
    }
  }

  async #setUp(connection: ChannelModel, lost: (error?: unknown) => void): Promise<ConfirmChannel> {
    const { topology = platformTopology, deliveryLimit = DELIVERY_LIMIT } = this.#options;
    const channel = await connection.createConfirmChannel();
    channel.on('error', (error) => this.#options.log.warn({ err: error }, 'event bus: channel error'));
    channel.on('close', () => {
      // The broker closes a channel on a protocol error: begin again from the connection.
      drop(connection);
      lost(new Error('The channel was closed'));
    });
    channel.on('return', (message) => {
      const pending = this.#pending.get(String(message.properties.headers?.['x-lyceum-publish']));
      if (pending) pending.returned = true;
    });
    await declareTopology(channel, this.#exchange, topology, deliveryLimit);
    return channel;
  }

  #lost(connection: ChannelModel, error: unknown): void {
    if (this.#connection === connection) {
      this.#connection = undefined;
      this.#channel = undefined;
    }
    for (const consumer of this.#consumers) consumer.detach(connection);
    for (const pending of [...this.#pending.values()]) pending.reject(unavailable('The event broker', error));
    if (this.#closed) return;
    this.#options.log.warn({ err: error }, 'event bus: connection lost');
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.start(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, BACKOFF_MS[1]);
  }

  async publish(event: EventEnvelope): Promise<void> {
    const channel = this.#channel;
    const connection = this.#connection;
    if (!channel || !connection) throw unavailable('The event broker');
    const ticket = String(this.#sequence++);
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: unknown) => {
        clearTimeout(timer);
        this.#pending.delete(ticket);
        if (error) reject(error);
        else resolve();
      };
      const timer = setTimeout(() => {
        settle(unavailable('The event broker', new Error(`No confirm within ${CONFIRM_MS} ms`)));
        drop(connection);
        this.#lost(connection, new Error('A confirm did not come'));
      }, CONFIRM_MS);
      const pending: Pending = { reject: settle, returned: false };
      this.#pending.set(ticket, pending);
      try {
        this.#writeTogether(connection);
        channel.publish(
          this.#exchange,
          event.name,
          Buffer.from(JSON.stringify(event)),
          {
            persistent: true,
            mandatory: true,
            messageId: event.id,
            type: event.name,
            contentType: 'application/json',
            // The ticket tells which publish a returned message was: one event may be on its way twice.
            headers: {
              ...(event.traceparent ? { traceparent: event.traceparent } : {}),
              'x-lyceum-publish': ticket,
            },
          },
          (nack: unknown) => {
            if (nack)
              settle(
                unavailable('The event broker', new Error('The broker refused the message', { cause: nack })),
              );
            // basic.return comes before the ack of the same message (RabbitMQ, publisher confirms).
            else if (pending.returned) settle(new Error(`No queue is bound to ${event.name}`));
            else settle();
          },
        );
      } catch (error) {
        settle(unavailable('The event broker', error));
      }
    });
  }

  /** What is published in one turn of the event loop leaves in one system call instead of one for each message. */
  #writeTogether(connection: ChannelModel): void {
    if (this.#corked) return;
    this.#corked = true;
    const { stream } = connection.connection as unknown as { stream: { cork(): void; uncork(): void } };
    stream.cork();
    // The library passes frames on to the stream in the next turn.
    setImmediate(() =>
      setImmediate(() => {
        this.#corked = false;
        stream.uncork();
      }),
    );
  }

  async consume(consumer: RabbitConsumer): Promise<{ stop(): Promise<void> }> {
    this.#consumers.add(consumer);
    // Without a connection it begins with the next one; a queue that doesn't exist closes its channel and is logged.
    if (this.#channel && this.#connection) await consumer.attach(this.#connection).catch(() => {});
    return {
      stop: async () => {
        await consumer.stop();
        this.#consumers.delete(consumer);
      },
    };
  }

  async ready(): Promise<void> {
    if (!this.#channel) throw unavailable('The event broker');
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await Promise.all([...this.#consumers].map((consumer) => consumer.stop()));
    const connection = this.#connection;
    if (!connection) return;
    await deadline(connection.close(), 2_000, 'closing').catch(() => drop(connection));
  }
}

async function deadline<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`RabbitMQ took more than ${ms} ms for ${what}`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Cuts the socket: a polite close waits for an answer that may never come. */
function drop(connection: ChannelModel): void {
  const { stream } = connection.connection as unknown as { stream?: { destroy(): void } };
  stream?.destroy();
}
