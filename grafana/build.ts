import { join } from 'node:path';

/**
 * `bun grafana/build.ts` writes dashboards/lyceum.json; `npm run verify` fails when that is not what comes out here.
 * Metric names are checked there too, against the code that makes them.
 */

export const DASHBOARD_PATH = join(import.meta.dir, 'dashboards', 'lyceum.json');

type Unit = 'reqps' | 'percentunit' | 's' | 'short' | 'bytes' | 'ops';

/** A curve of a graph: PromQL, and the legend in Grafana's `{{label}}` form. */
type Curve = [expr: string, legend: string];

interface Graph {
  title: string;
  help: string;
  unit: Unit;
  curves: Curve[];
}

/** `$service` is the dashboard's choice of services. */
const REQUESTS = 'lyceum_http_request_duration_seconds';
const chosen = 'job="lyceum", service=~"$service"';
const gateway = 'job="lyceum", service="gateway"';
const perSecond = (metric: string, matchers: string): string =>
  `rate(${metric}{${matchers}}[$__rate_interval])`;
const quantile = (q: number, metric: string, matchers: string, by: string): string =>
  `histogram_quantile(${q}, sum by (le${by && `, ${by}`}) (${perSecond(`${metric}_bucket`, matchers)}))`;

const ROWS: [title: string, graphs: Graph[]][] = [
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
      {
        title: 'Rate limits',
        help: 'Decisions by class, outcome and store: without the shared store each gateway counts alone.',
        unit: 'ops',
        curves: [
          [
            `sum by (class, outcome, store) (${perSecond('lyceum_gateway_rate_limit_decisions_total', gateway)})`,
            '{{class}} {{outcome}} {{store}}',
          ],
        ],
      },
      {
        title: 'WebSockets that ended',
        help: 'By who or what ended them.',
        unit: 'ops',
        curves: [
          [`sum by (reason) (${perSecond('lyceum_gateway_sockets_closed_total', gateway)})`, '{{reason}}'],
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

const WIDTH = 6;
const HEIGHT = 8;
const PER_LINE = 24 / WIDTH;
// biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana puts the chosen one in
const datasource = { type: 'prometheus', uid: '${datasource}' };

function panels(): object[] {
  let y = 0;
  let id = 0;
  return ROWS.flatMap(([title, graphs]) => {
    const row = {
      id: ++id,
      type: 'row',
      title,
      collapsed: false,
      gridPos: { x: 0, y, w: 24, h: 1 },
      panels: [],
    };
    y += 1;
    const drawn = graphs.map((graph, index) => ({
      id: ++id,
      type: 'timeseries',
      title: graph.title,
      description: graph.help,
      datasource,
      gridPos: {
        x: (index % PER_LINE) * WIDTH,
        y: y + Math.floor(index / PER_LINE) * HEIGHT,
        w: WIDTH,
        h: HEIGHT,
      },
      fieldConfig: {
        defaults: { unit: graph.unit, min: 0, custom: { fillOpacity: 10, showPoints: 'never' } },
        overrides: [],
      },
      options: {
        legend: { displayMode: 'list', placement: 'bottom' },
        tooltip: { mode: 'multi', sort: 'desc' },
      },
      targets: graph.curves.map(([expr, legendFormat], number) => ({
        refId: String.fromCharCode(65 + number),
        datasource,
        expr,
        legendFormat,
      })),
    }));
    y += Math.ceil(graphs.length / PER_LINE) * HEIGHT;
    return [row, ...drawn];
  });
}

/** Grafana's JSON model, as the text of the file. */
export function buildDashboard(): string {
  const dashboard = {
    uid: 'lyceum',
    title: 'Lyceum',
    tags: ['lyceum'],
    schemaVersion: 39,
    version: 1,
    editable: false,
    graphTooltip: 1,
    time: { from: 'now-3h', to: 'now' },
    refresh: '30s',
    templating: {
      list: [
        { name: 'datasource', type: 'datasource', query: 'prometheus', hide: 0 },
        {
          name: 'service',
          label: 'Service',
          type: 'query',
          datasource,
          query: { query: 'label_values(up{job="lyceum"}, service)', refId: 'service' },
          definition: 'label_values(up{job="lyceum"}, service)',
          refresh: 2,
          sort: 1,
          multi: true,
          includeAll: true,
          current: { text: 'All', value: '$__all' },
        },
      ],
    },
    panels: panels(),
  };
  return `${JSON.stringify(dashboard, null, 2)}\n`;
}

if (import.meta.main) await Bun.write(DASHBOARD_PATH, buildDashboard());
