import { by, gateway, perSecond, REQUESTS, type Row } from './graphs.ts';

/** The gateway: rate, errors and duration by route and service; replicas, limits, cache, clients. */
export const GATEWAY: Row[] = [
  [
    'Routes',
    [
      {
        title: 'Requests',
        help: 'By line of the routing table, those asked for most.',
        unit: 'reqps',
        curves: [[`topk(10, ${by('route', perSecond(`${REQUESTS}_count`, gateway))})`, '{{route}}']],
      },
      {
        title: 'Failed',
        help: 'Share of 5xx.',
        unit: 'percentunit',
        curves: [['topk(10, lyceum:gateway_route_failed:ratio5m)', '{{route}}']],
      },
      {
        title: 'Time, p99',
        help: 'From the head of a request to the end of its reply. Uploads and downloads take as long as the file is large.',
        unit: 's',
        curves: [['topk(10, lyceum:gateway_route_seconds:p99_5m)', '{{route}}']],
      },
      {
        title: 'Refused',
        help: '4xx by status: 401 token, 403 right, 404, 413 size, 429 limit.',
        unit: 'reqps',
        curves: [[by('status', perSecond(`${REQUESTS}_count`, `${gateway}, status=~"4.."`)), '{{status}}']],
      },
    ],
  ],
  [
    'Services behind it',
    [
      {
        title: 'Requests',
        help: 'Passed on, by service.',
        unit: 'reqps',
        curves: [
          [
            by('upstream', perSecond('lyceum_gateway_upstream_duration_seconds_count', gateway)),
            '{{upstream}}',
          ],
        ],
      },
      {
        title: 'Failed',
        help: 'Answered with 5xx, by the service or for it.',
        unit: 'reqps',
        curves: [
          [
            by(
              'upstream',
              perSecond('lyceum_gateway_upstream_duration_seconds_count', `${gateway}, status="5xx"`),
            ),
            '{{upstream}}',
          ],
        ],
      },
      {
        title: 'Time, p99',
        help: 'Of a request that was passed on.',
        unit: 's',
        curves: [['lyceum:gateway_upstream_seconds:p99_5m', '{{upstream}}']],
      },
      {
        title: 'Attempts that failed, and retries',
        help: 'A failed attempt may have gone well elsewhere: the retry budget allows or denies that.',
        unit: 'ops',
        curves: [
          [
            by('upstream, kind', perSecond('lyceum_gateway_upstream_failures_total', gateway)),
            '{{upstream}} {{kind}}',
          ],
          [
            by('upstream, decision', perSecond('lyceum_gateway_retries_total', gateway)),
            '{{upstream}} retry {{decision}}',
          ],
        ],
      },
    ],
  ],
  [
    'Replicas and bulkheads',
    [
      {
        title: 'Replicas in use',
        help: '1: gets requests. 0.5: on trial. 0: breaker open, or draining. As the gateway sees it that likes it least.',
        unit: 'short',
        curves: [
          [
            `min by (upstream, replica) (lyceum_gateway_replica_usable{${gateway}})`,
            '{{upstream}} {{replica}}',
          ],
        ],
      },
      {
        title: 'Breakers',
        help: 'What opened them, and what they came to.',
        unit: 'ops',
        curves: [
          [
            by('upstream, cause', perSecond('lyceum_gateway_ejections_total', gateway)),
            '{{upstream}} opened: {{cause}}',
          ],
          [
            by('upstream, to', perSecond('lyceum_gateway_breaker_transitions_total', gateway)),
            '{{upstream}} {{to}}',
          ],
        ],
      },
      {
        title: 'In flight and waiting',
        help: 'Requests to a service, all replicas together, and those that wait for a place at its bulkhead.',
        unit: 'short',
        curves: [
          [by('upstream', `lyceum_gateway_upstream_in_flight{${gateway}}`), '{{upstream}}'],
          [by('upstream', `lyceum_gateway_upstream_queued{${gateway}}`), '{{upstream}} waiting'],
        ],
      },
      {
        title: 'Turned away by bulkheads',
        help: 'With 503: the queue was full, or the wait too long.',
        unit: 'ops',
        curves: [
          [
            by('upstream, reason', perSecond('lyceum_gateway_bulkhead_refusals_total', gateway)),
            '{{upstream}} {{reason}}',
          ],
        ],
      },
      {
        title: 'Requests by replica',
        help: 'In flight now.',
        unit: 'short',
        curves: [
          [
            by('upstream, replica', `lyceum_gateway_replica_in_flight{${gateway}}`),
            '{{upstream}} {{replica}}',
          ],
        ],
      },
      {
        title: 'Sockets by replica',
        help: 'Open WebSockets to each.',
        unit: 'short',
        curves: [
          [by('upstream, replica', `lyceum_gateway_replica_sockets{${gateway}}`), '{{upstream}} {{replica}}'],
        ],
      },
      {
        title: 'Slow start',
        help: 'Of what a replica would get otherwise.',
        unit: 'percentunit',
        curves: [
          [
            `min by (upstream, replica) (lyceum_gateway_replica_share{${gateway}})`,
            '{{upstream}} {{replica}}',
          ],
        ],
      },
    ],
  ],
  [
    'Limits',
    [
      {
        title: 'Refused by limits',
        help: 'By class of routes.',
        unit: 'ops',
        curves: [
          [
            by(
              'class',
              perSecond('lyceum_gateway_rate_limit_decisions_total', `${gateway}, outcome="refused"`),
            ),
            '{{class}}',
          ],
        ],
      },
      {
        title: 'Who decides',
        help: 'shared: settled with all other gateways. local: alone, while the store is away.',
        unit: 'ops',
        curves: [[by('store', perSecond('lyceum_gateway_rate_limit_decisions_total', gateway)), '{{store}}']],
      },
      {
        title: 'Gateways that decide alone',
        help: 'Because the store is away, or slow.',
        unit: 'short',
        curves: [[`sum(lyceum_gateway_limits_degraded{${gateway}})`, 'gateways']],
      },
    ],
  ],
  [
    'Cache',
    [
      {
        title: 'Hit ratio',
        help: 'Of the requests that it may answer, those that no service was asked for.',
        unit: 'percentunit',
        curves: [['lyceum:gateway_cache_hits:ratio5m', 'hits']],
      },
      {
        title: 'Requests',
        help: 'What became of them. coalesced: waited for another that asked the same. renewed: the service said 304.',
        unit: 'ops',
        curves: [[by('outcome', perSecond('lyceum_gateway_cache_requests_total', gateway)), '{{outcome}}']],
      },
      {
        title: 'Memory',
        help: 'What the kept replies of each gateway take.',
        unit: 'bytes',
        curves: [[`lyceum_gateway_cache_bytes{${gateway}}`, '{{instance}}']],
      },
      {
        title: 'Replies kept',
        help: 'By each gateway.',
        unit: 'short',
        curves: [[`lyceum_gateway_cache_entries{${gateway}}`, '{{instance}}']],
      },
      {
        title: 'Made room',
        help: 'Replies that were dropped for others. Many: CACHE_MEMORY_MB is small.',
        unit: 'ops',
        curves: [
          [by('instance', perSecond('lyceum_gateway_cache_evictions_total', gateway)), '{{instance}}'],
        ],
      },
    ],
  ],
  [
    'Clients',
    [
      {
        title: 'Open sockets',
        help: 'WebSockets that each gateway relays.',
        unit: 'short',
        curves: [[`lyceum_gateway_open_sockets{${gateway}}`, '{{instance}}']],
      },
      {
        title: 'Sockets that ended',
        help: 'By who or what ended them; slow-client: it did not read.',
        unit: 'ops',
        curves: [[by('reason', perSecond('lyceum_gateway_sockets_closed_total', gateway)), '{{reason}}']],
      },
      {
        title: 'Slow clients cut off in 15 minutes',
        help: 'By gateway and chat together.',
        unit: 'short',
        curves: [['lyceum:slow_clients_cut_off:increase15m', 'cut off']],
      },
      {
        title: 'Requests in flight',
        help: 'By gateway.',
        unit: 'short',
        curves: [[`lyceum_gateway_requests_in_flight{${gateway}}`, '{{instance}}']],
      },
      {
        title: 'Not HTTP',
        help: 'Requests that could not be read, and were refused.',
        unit: 'ops',
        curves: [[`sum(${perSecond('lyceum_gateway_malformed_requests_total', gateway)})`, 'malformed']],
      },
      {
        title: 'Compression',
        help: 'Bytes out for bytes in, of replies that were compressed.',
        unit: 'percentunit',
        curves: [
          [
            `sum by (coding) (${perSecond('lyceum_gateway_compressed_bytes_total', `${gateway}, side="out"`)}) / sum by (coding) (${perSecond('lyceum_gateway_compressed_bytes_total', `${gateway}, side="in"`)})`,
            '{{coding}}',
          ],
        ],
      },
      {
        title: 'Open files',
        help: 'Of those that the process may have; a socket takes two. The alert is at 80 %.',
        unit: 'percentunit',
        curves: [[`process_open_fds{${gateway}} / process_max_fds{${gateway}}`, '{{instance}}']],
      },
      {
        title: 'Memory',
        help: 'Resident.',
        unit: 'bytes',
        curves: [[`process_resident_memory_bytes{${gateway}}`, '{{instance}}']],
      },
    ],
  ],
];
