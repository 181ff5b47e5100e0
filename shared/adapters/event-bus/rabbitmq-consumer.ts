import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib';
import type { BusMessage } from '../../ports/event-bus.ts';
import { pauseAfter } from './topology.ts';

/** One consumer of one queue, with a channel of its own on whichever connection there is. */
export class RabbitConsumer {
  readonly #inHand = new Set<Promise<void>>();
  #current: { connection: ChannelModel; channel: Channel; tag: string | undefined } | undefined;
  #stopped = false;
  /** Ends the pauses of rejected messages. */
  readonly #stopping = Promise.withResolvers<void>();

  constructor(
    readonly queue: string,
    readonly handle: (message: BusMessage) => Promise<void>,
    readonly prefetch: number,
    readonly log: { warn(fields: object, text: string): void },
  ) {}

  /** Begins to consume on this connection. */
  async attach(connection: ChannelModel): Promise<void> {
    if (this.#stopped || this.#current?.connection === connection) return;
    const channel = await connection.createChannel();
    const current = { connection, channel, tag: undefined as string | undefined };
    this.#current = current;
    const again = (error?: unknown) => {
      if (this.#current !== current) return;
      this.#current = undefined;
      if (this.#stopped) return;
      this.log.warn({ err: error, queue: this.queue }, 'event bus: consumer ended, beginning again');
      setTimeout(() => this.attach(connection).catch(() => {}), 1_000).unref?.();
    };
    channel.on('error', (error) =>
      this.log.warn({ err: error, queue: this.queue }, 'event bus: channel error'),
    );
    channel.on('close', again);
    await channel.prefetch(this.prefetch);
    const { consumerTag } = await channel.consume(this.queue, (message) => {
      // Null: the broker cancelled us, as the queue was deleted or its leader moved.
      if (message === null) void channel.close().catch(() => {});
      else this.#take(channel, message);
    });
    current.tag = consumerTag;
    if (this.#stopped) await channel.cancel(consumerTag);
  }

  detach(connection: ChannelModel): void {
    if (this.#current?.connection === connection) this.#current = undefined;
  }

  #take(channel: Channel, message: ConsumeMessage): void {
    const work: Promise<void> = this.#deliver(channel, message).finally(() => this.#inHand.delete(work));
    this.#inHand.add(work);
  }

  async #deliver(channel: Channel, message: ConsumeMessage): Promise<void> {
    const { redelivered } = message.fields;
    try {
      await this.handle({ content: message.content.toString('utf8'), redelivered });
    } catch {
      // Quorum queues count deliveries in this header, from the second one on.
      const times = Number(message.properties.headers?.['x-delivery-count'] ?? 0) + 1;
      await Promise.race([
        new Promise((resolve) => setTimeout(resolve, pauseAfter(times))),
        this.#stopping.promise,
      ]);
      answer(() => channel.nack(message, false, true));
      return;
    }
    answer(() => channel.ack(message));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const current = this.#current;
    if (current?.tag !== undefined) await current.channel.cancel(current.tag).catch(() => {});
    this.#stopping.resolve();
    await Promise.allSettled(this.#inHand);
    this.#current = undefined;
    await current?.channel.close().catch(() => {});
  }
}

/** On a channel that is gone the broker has taken the message back already. */
function answer(reply: () => void): void {
  try {
    reply();
  } catch {}
}
