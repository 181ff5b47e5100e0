import { QUEUES } from '../../events/topology.ts';

/** Queue name → the event names it receives. Tests bring their own. */
export type Topology = Record<string, readonly string[]>;

export const platformTopology: Topology = QUEUES;

/** How often a queue hands out one message before it gives up and moves it to its dead-letter queue. */
export const DELIVERY_LIMIT = 20;

/** Milliseconds until a message that was rejected `times` times is handed out again: 0.2 s, doubling up to 30 s. */
export const pauseAfter = (times: number): number => Math.min(30_000, 100 * 2 ** Math.min(times, 12));

export function queuesFor(topology: Topology, name: string): string[] {
  return Object.keys(topology).filter((queue) => topology[queue]!.includes(name));
}
