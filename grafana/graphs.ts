/** What dashboards are made of. `build.ts` turns it into Grafana's JSON model. */

export type Unit = 'reqps' | 'percentunit' | 's' | 'short' | 'bytes' | 'ops';

/** A curve of a graph: PromQL, and the legend in Grafana's `{{label}}` form. */
export type Curve = [expr: string, legend: string];

export interface Graph {
  title: string;
  help: string;
  unit: Unit;
  curves: Curve[];
}

/** Graphs under one heading. */
export type Row = [title: string, graphs: Graph[]];

/** `$service` is the dashboard's choice of services. */
export const REQUESTS = 'lyceum_http_request_duration_seconds';
export const chosen = 'job="lyceum", service=~"$service"';
export const gateway = 'job="lyceum", service="gateway"';
export const chat = 'job="lyceum", service="chat"';
export const perSecond = (metric: string, matchers: string): string =>
  `rate(${metric}{${matchers}}[$__rate_interval])`;
export const quantile = (q: number, metric: string, matchers: string, by: string): string =>
  `histogram_quantile(${q}, sum by (le${by && `, ${by}`}) (${perSecond(`${metric}_bucket`, matchers)}))`;

export const by = (labels: string, expr: string): string => `sum by (${labels}) (${expr})`;
