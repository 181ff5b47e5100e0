import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/**
 * What chat counts beside what every service counts. Events that clients send, with their acknowledgements' time and
 * code, are in `lyceum_http_request_duration_seconds` under the method `SOCKET`.
 */
export interface ChatMetrics {
  connections: Gauge<'namespace'>;
  connectionsClosed: Counter<'reason'>;
  batchMessages: Histogram;
  deliveries: Counter;
  recoveredMessages: Counter;
  lostChanges: Counter;
  beats: Counter;
}

const known = new WeakMap<Registry, ChatMetrics>();

/** Chat's metrics in a registry: the same ones for every chat of a process (tests have several). */
export function chatMetrics(registry: Registry): ChatMetrics {
  const metrics = known.get(registry) ?? create(registry);
  known.set(registry, metrics);
  return metrics;
}

function create(registry: Registry): ChatMetrics {
  const registers = [registry];
  return {
    connections: new Gauge({
      name: 'lyceum_chat_connections',
      help: 'Socket.IO connections to this process, by namespace; a client may have one in each.',
      labelNames: ['namespace'],
      registers,
    }),
    connectionsClosed: new Counter({
      name: 'lyceum_chat_connections_closed_total',
      help: "Connections that ended, by Socket.IO's reason; `slow consumer`: cut off because its client did not read.",
      labelNames: ['reason'],
      registers,
    }),
    batchMessages: new Histogram({
      name: 'lyceum_chat_batch_messages',
      help: 'Messages stored together, in one transaction.',
      buckets: [1, 2, 5, 10, 20, 50, 100, 200],
      registers,
    }),
    deliveries: new Counter({
      name: 'lyceum_chat_deliveries_total',
      help: 'Live messages, and changes to them, written to sockets of this process: one for each socket.',
      registers,
    }),
    recoveredMessages: new Counter({
      name: 'lyceum_chat_recovered_messages_total',
      help: 'Live messages read from the database because no process told this one of them in time.',
      registers,
    }),
    lostChanges: new Counter({
      name: 'lyceum_chat_lost_changes_total',
      help: 'Changes that never reached this process; clients see by the numbers that they have to ask.',
      registers,
    }),
    beats: new Counter({
      name: 'lyceum_chat_beats_total',
      help: 'Times a room with sockets on this process was told its last numbers.',
      registers,
    }),
  };
}
