import { Counter, Gauge } from 'prom-client';
import type { Metrics } from '../shared/observability/metrics.ts';
import { QuickHistogram } from '../shared/observability/quick-histogram.ts';
import { observeUpstreams } from './upstreams/metrics.ts';
import type { ObservedPool } from './upstreams/state.ts';

/** What the gateway counts beside what every service counts. */
export interface GatewayMetrics {
  registry: Metrics['registry'];
  /** Rate, errors and duration per route of the table. */
  requests: Metrics['requests'];
  /** The same per service behind it. */
  upstreamRequests: QuickHistogram;
  upstreamFailures: Counter<'upstream' | 'kind'>;
  /** Every pool of replicas there is: they are asked when metrics are read. */
  upstreams: Set<ObservedPool>;
  /** Counted by hand: read when somebody scrapes. */
  inFlight: { now: number };
  malformed: Counter;
  openSockets: Gauge;
  socketsClosed: Counter<'reason'>;
  rateLimits: Counter<'class' | 'outcome' | 'store'>;
  limitsDegraded: Gauge;
  /** Bytes that compression took in and gave out. */
  compressed: Counter<'coding' | 'side'>;
}

export function gatewayMetrics({ registry, requests }: Metrics): GatewayMetrics {
  const registers = [registry];
  const inFlight = { now: 0 };
  new Gauge({
    name: 'lyceum_gateway_requests_in_flight',
    help: 'Requests being answered.',
    registers,
    collect() {
      this.set(inFlight.now);
    },
  });
  return {
    registry,
    requests,
    upstreamRequests: new QuickHistogram({
      name: 'lyceum_gateway_upstream_duration_seconds',
      help: 'Time of a proxied request, from its head to the end of its reply.',
      labelNames: ['upstream', 'status'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
      registers,
    }),
    upstreamFailures: new Counter({
      name: 'lyceum_gateway_upstream_failures_total',
      help: 'Attempts that failed, by kind: connect, broken, timeout, stalled.',
      labelNames: ['upstream', 'kind'],
      registers,
    }),
    upstreams: observeUpstreams(registry),
    inFlight,
    malformed: new Counter({
      name: 'lyceum_gateway_malformed_requests_total',
      help: 'Requests refused because they could not be read as HTTP/1.1.',
      registers,
    }),
    openSockets: new Gauge({
      name: 'lyceum_gateway_open_sockets',
      help: 'WebSockets being relayed.',
      registers,
    }),
    socketsClosed: new Counter({
      name: 'lyceum_gateway_sockets_closed_total',
      help: 'WebSockets that ended, by who or what ended them.',
      labelNames: ['reason'],
      registers,
    }),
    limitsDegraded: new Gauge({
      name: 'lyceum_gateway_limits_degraded',
      help: '1 while limits are counted per process, because the shared store is away.',
      registers,
    }),
    compressed: new Counter({
      name: 'lyceum_gateway_compressed_bytes_total',
      help: 'Bytes of replies that were compressed: before (in) and after (out).',
      labelNames: ['coding', 'side'],
      registers,
    }),
    rateLimits: new Counter({
      name: 'lyceum_gateway_rate_limit_decisions_total',
      help: 'Decisions by class and outcome; store tells whether all gateways counted together.',
      labelNames: ['class', 'outcome', 'store'],
      registers,
    }),
  };
}
