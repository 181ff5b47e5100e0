import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { QuickHistogram } from './quick-histogram.ts';

/** One registry per service, because the embedded mode has seven services in one process. */
export interface Metrics {
  registry: Registry;
  requests: QuickHistogram;
  eventsPublished: Counter<'event' | 'outcome'>;
  eventsConsumed: Counter<'queue' | 'event' | 'outcome'>;
  outboxPending: Gauge;
  deadLetters: Counter<'queue'>;
}

const LATENCY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  // They are V8's, and to be asked for them makes Bun look at its whole heap: 4 to 14 ms of the event loop at each scrape.
  for (const kind of ['total', 'used', 'available'])
    registry.removeSingleMetric(`nodejs_heap_space_size_${kind}_bytes`);
  const registers = [registry];
  watchLoopLag(
    new Gauge({
      name: 'lyceum_event_loop_lag_seconds',
      help: 'How late a 500 ms timer fired last; the runtime reports no event-loop utilisation itself.',
      registers,
    }),
  );
  return {
    registry,
    requests: new QuickHistogram({
      name: 'lyceum_http_request_duration_seconds',
      help: 'Time from the request head to the end of the handler.',
      labelNames: ['method', 'route', 'status'],
      buckets: LATENCY_BUCKETS,
      registers,
    }),
    eventsPublished: new Counter({
      name: 'lyceum_events_published_total',
      help: 'Domain events handed to the broker.',
      labelNames: ['event', 'outcome'],
      registers,
    }),
    eventsConsumed: new Counter({
      name: 'lyceum_events_consumed_total',
      help: 'Domain events taken from a queue, by outcome: handled, duplicate, retried, dead.',
      labelNames: ['queue', 'event', 'outcome'],
      registers,
    }),
    outboxPending: new Gauge({
      name: 'lyceum_outbox_pending',
      help: 'Events waiting in the outbox at the last look.',
      registers,
    }),
    deadLetters: new Counter({
      name: 'lyceum_dead_letters_total',
      help: 'Messages given up on and kept for an administrator.',
      labelNames: ['queue'],
      registers,
    }),
  };
}

function watchLoopLag(gauge: Gauge): void {
  const period = 500;
  let due = performance.now() + period;
  const timer = setInterval(() => {
    const now = performance.now();
    gauge.set(Math.max(0, now - due) / 1000);
    due = now + period;
  }, period);
  timer.unref?.();
}
