import type { Channel } from 'amqplib';
import { deadLetterQueue } from '../../events/topology.ts';
import type { Topology } from './topology.ts';

/**
 * Declares the exchange, every queue with its bindings, and its dead-letter queue; saying it again changes nothing.
 * The arguments, all known to quorum queues since RabbitMQ 3.10 and in 4.x (https://www.rabbitmq.com/docs/quorum-queues):
 * - `x-delivery-limit`: the last line against messages that kill their consumer; our own count comes long before.
 * - `x-dead-letter-strategy: at-least-once` with `x-overflow: reject-publish`, without which moving a dead
 *   letter may lose it (https://www.rabbitmq.com/docs/quorum-queues#dead-lettering).
 * Changing an argument needs the queue to be deleted first (PRECONDITION_FAILED).
 */
export async function declareTopology(
  channel: Channel,
  exchange: string,
  topology: Topology,
  deliveryLimit: number,
): Promise<void> {
  await channel.assertExchange(exchange, 'topic', { durable: true });
  await Promise.all(
    Object.entries(topology).map(async ([queue, names]) => {
      const dead = deadLetterQueue(queue);
      // No limit by number of deliveries: 4.x would drop after 20 where there is no further dead-letter exchange.
      await channel.assertQueue(dead, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
      await channel.assertQueue(queue, {
        durable: true,
        arguments: {
          'x-queue-type': 'quorum',
          'x-delivery-limit': deliveryLimit,
          // The default exchange leads to the queue whose name is the routing key.
          'x-dead-letter-exchange': '',
          'x-dead-letter-routing-key': dead,
          'x-dead-letter-strategy': 'at-least-once',
          'x-overflow': 'reject-publish',
        },
      });
      await Promise.all(names.map((name) => channel.bindQueue(queue, exchange, name)));
    }),
  );
}
