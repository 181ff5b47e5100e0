import { type Curve, chosen, gateway, perSecond, quantile, REQUESTS, type Row } from './graphs.ts';

/** The whole platform: what people notice, then what it may come from. */
export const OVERVIEW: Row[] = [
  [
    'What people notice',
    [
      {
        title: 'Requests',
        help: 'At the gateway, by answer.',
        unit: 'reqps',
        curves: [[`sum by (status) (${perSecond(`${REQUESTS}_count`, gateway)})`, '{{status}}']],
      },
      {
        title: 'Failed requests',
        help: 'Share of 5xx at the gateway. The alert is at 2 %.',
        unit: 'percentunit',
        curves: [
          [
            `(sum(${perSecond(`${REQUESTS}_count`, `${gateway}, status=~"5.."`)}) or vector(0)) / sum(${perSecond(`${REQUESTS}_count`, gateway)})`,
            'failed',
          ],
        ],
      },
      {
        title: 'Time of a request',
        help: 'At the gateway. Uploads and downloads take as long as the file is large.',
        unit: 's',
        curves: [0.5, 0.95, 0.99].map((q): Curve => [quantile(q, REQUESTS, gateway, ''), `p${q * 100}`]),
      },
      {
        title: 'Slowest routes',
        help: 'p95 by line of the routing table.',
        unit: 's',
        curves: [[`topk(8, ${quantile(0.95, REQUESTS, gateway, 'route')})`, '{{route}}']],
      },
    ],
  ],
  [
    'Gateway',
    [
      {
        title: 'Time of a service',
        help: 'p95 of proxied requests.',
        unit: 's',
        curves: [
          [quantile(0.95, 'lyceum_gateway_upstream_duration_seconds', gateway, 'upstream'), '{{upstream}}'],
        ],
      },
      {
        title: 'Attempts that failed',
        help: 'Connections to services that were refused, broke, or took too long.',
        unit: 'ops',
        curves: [
          [
            `sum by (upstream, kind) (${perSecond('lyceum_gateway_upstream_failures_total', gateway)})`,
            '{{upstream}} {{kind}}',
          ],
        ],
      },
      {
        title: 'Open now',
        help: 'WebSockets that are relayed and requests being answered.',
        unit: 'short',
        curves: [
          [`sum(lyceum_gateway_open_sockets{${gateway}})`, 'WebSockets'],
          [`sum(lyceum_gateway_requests_in_flight{${gateway}})`, 'requests'],
        ],
      },
    ],
  ],
  [
    'Events',
    [
      {
        title: 'Published',
        help: 'Handed to the broker; what is not confirmed is published again.',
        unit: 'ops',
        curves: [
          [
            `sum by (service, outcome) (${perSecond('lyceum_events_published_total', chosen)})`,
            '{{service}} {{outcome}}',
          ],
        ],
      },
      {
        title: 'Consumed',
        help: 'By queue and outcome.',
        unit: 'ops',
        curves: [
          [
            `sum by (queue, outcome) (${perSecond('lyceum_events_consumed_total', chosen)})`,
            '{{queue}} {{outcome}}',
          ],
        ],
      },
      {
        title: 'Waiting in the outbox',
        help: 'Near zero, unless the broker is away.',
        unit: 'short',
        curves: [[`max by (service) (lyceum_outbox_pending{${chosen}})`, '{{service}}']],
      },
      {
        title: 'Dead letters in an hour',
        help: 'Messages given up on, which wait for an administrator.',
        unit: 'short',
        curves: [[`sum by (queue) (increase(lyceum_dead_letters_total{${chosen}}[1h]))`, '{{queue}}']],
      },
    ],
  ],
  [
    'Processes',
    [
      {
        title: 'Event-loop lag',
        help: 'How late a timer fires. The alert is at 0.1 s over five minutes.',
        unit: 's',
        curves: [[`lyceum_event_loop_lag_seconds{${chosen}}`, '{{service}} {{instance}}']],
      },
      {
        title: 'CPU',
        help: 'Cores in use.',
        unit: 'short',
        curves: [[perSecond('process_cpu_seconds_total', chosen), '{{service}} {{instance}}']],
      },
      {
        title: 'Memory',
        help: 'Resident.',
        unit: 'bytes',
        curves: [[`process_resident_memory_bytes{${chosen}}`, '{{service}} {{instance}}']],
      },
      {
        title: 'Answering Prometheus',
        help: 'Processes of each service.',
        unit: 'short',
        curves: [[`sum by (service) (up{${chosen}})`, '{{service}}']],
      },
    ],
  ],
];
