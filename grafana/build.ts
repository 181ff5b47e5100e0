import { join } from 'node:path';
import { CHAT } from './chat.ts';
import { GATEWAY } from './gateway.ts';
import type { Row } from './graphs.ts';
import { OVERVIEW } from './overview.ts';

/**
 * `bun grafana/build.ts` writes dashboards/; `npm run verify` fails when that is not what comes out here. That every
 * query asks for metrics and labels that there are is tested in deploy/observability.test.ts.
 */

const WIDTH = 6;
const HEIGHT = 8;
const PER_LINE = 24 / WIDTH;
// biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana puts the chosen one in
const datasource = { type: 'prometheus', uid: '${datasource}' };

function panels(rows: Row[]): object[] {
  let y = 0;
  let id = 0;
  return rows.flatMap(([title, graphs]) => {
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

const DATASOURCE = { name: 'datasource', type: 'datasource', query: 'prometheus', hide: 0 };
const SERVICE = {
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
};

export interface Dashboard {
  path: string;
  rows: Row[];
  /** Grafana's JSON model, as it is in the file. */
  text: string;
}

function dashboard(uid: string, title: string, rows: Row[], choices: object[] = []): Dashboard {
  const model = {
    uid,
    title,
    tags: ['lyceum'],
    schemaVersion: 39,
    version: 1,
    editable: false,
    graphTooltip: 1,
    time: { from: 'now-3h', to: 'now' },
    refresh: '30s',
    links: [{ type: 'dashboards', title: 'Lyceum', tags: ['lyceum'], asDropdown: true, keepTime: true }],
    templating: { list: [DATASOURCE, ...choices] },
    panels: panels(rows),
  };
  return {
    path: join(import.meta.dir, 'dashboards', `${uid}.json`),
    rows,
    text: `${JSON.stringify(model, null, 2)}\n`,
  };
}

export const DASHBOARDS: Dashboard[] = [
  dashboard('lyceum', 'Lyceum', OVERVIEW, [SERVICE]),
  dashboard('lyceum-gateway', 'Lyceum: gateway', GATEWAY),
  dashboard('lyceum-chat', 'Lyceum: chat', CHAT),
];

if (import.meta.main) for (const { path, text } of DASHBOARDS) await Bun.write(path, text);
