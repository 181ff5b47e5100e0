import type { EventEnvelope } from '../contracts/events.ts';

/** Carries domain events from outboxes to durable queues, at least once. */
export interface EventBus {
  /**
   * Resolves when every queue bound to the event's name holds it durably; rejects when that is not known
   * (no confirm in time, unroutable, connection lost). Publishing again after a rejection is safe:
   * consumers keep an inbox.
   */
  publish(event: EventEnvelope): Promise<void>;
  /**
   * Delivers the messages of one durable queue of the topology, up to `prefetch` at a time (default 16).
   * A handler that resolves acknowledges; one that rejects puts the message back on the queue.
   * Survives reconnects by itself.
   */
  consume(
    queue: string,
    handle: (message: BusMessage) => Promise<void>,
    options?: { prefetch?: number },
  ): Promise<Subscription>;
  /** Rejects when events can't be carried right now. */
  ready(): Promise<void>;
  close(): Promise<void>;
}

export interface BusMessage {
  /** The JSON text as it came; the consumer validates it. */
  content: string;
  redelivered: boolean;
}

export interface Subscription {
  /** Takes no more messages and waits for those in hand. */
  stop(): Promise<void>;
}
