import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, startedForOneTest } from '../gateway/testing.ts';
import { DASHBOARDS } from '../grafana/build.ts';
import {
  connect,
  disconnectAll,
  must,
  next,
  openSchool,
  startChat,
  type World,
} from '../services/chat/test-school.ts';
import { has, run } from './servers/process.ts';

/** Alerts, recorded figures and dashboards fit a gateway and a chat that run, and lead to what one can do. */

const ROOT = join(import.meta.dir, '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Rule {
  alert?: string;
  record?: string;
  expr: string;
  labels?: { severity?: string };
  annotations?: { summary?: string; description?: string; runbook_url?: string };
}
interface RuleTests {
  tests: { alert_rule_test?: { alertname: string; exp_alerts?: object[] }[] }[];
}
const filesOf = (folder: string): string[] =>
  readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}`);
const RULES = filesOf('prometheus/rules').flatMap((path) =>
  (Bun.YAML.parse(read(path)) as { groups: { rules: Rule[] }[] }).groups.flatMap(({ rules }) => rules),
);
const ALERTS = RULES.filter(({ alert }) => alert !== undefined);
const TRIED = filesOf('prometheus/tests').flatMap((path) =>
  (Bun.YAML.parse(read(path)) as RuleTests).tests.flatMap(({ alert_rule_test: tried }) => tried ?? []),
);

describe.each(ALERTS.map((rule): [string, Rule] => [rule.alert!, rule]))('%s', (name, rule) => {
  test('says how bad it is, what it is, and where it is written what to do', () => {
    expect(rule.labels?.severity).toMatch(/^(critical|warning)$/);
    expect(rule.annotations?.summary).toBeTruthy();
    expect(rule.annotations?.description).toBeTruthy();
    expect(rule.annotations?.runbook_url).toBe(`docs/runbooks.md#${name.toLowerCase()}`);
    expect(read('docs/runbooks.md').split('\n')).toContain(`## ${name}`);
  });

  test('is tried where it must fire and where it must not', () => {
    const own = TRIED.filter(({ alertname }) => alertname === name);
    expect(own.some(({ exp_alerts: expected }) => (expected ?? []).length > 0)).toBe(true);
    expect(own.some(({ exp_alerts: expected }) => (expected ?? []).length === 0)).toBe(true);
  });
});

test('no runbook is left of an alert that is gone', () => {
  const sections = [...read('docs/runbooks.md').matchAll(/^## (\w+)$/gm)].map(([, name]) => name!);
  expect(sections.sort()).toEqual(ALERTS.map(({ alert }) => alert!).sort());
});

// CI has it: `npm test` installs it.
const hasPromtool = await has('promtool');
test.skipIf(!hasPromtool && !process.env.CI)('promtool finds rules and their tests right', async () => {
  await run({
    file: 'promtool',
    args: ['check', 'config', '--syntax-only', 'prometheus/prometheus.yml'],
    cwd: ROOT,
  });
  const said = await run({
    file: 'promtool',
    args: ['test', 'rules', ...filesOf('prometheus/tests')],
    cwd: ROOT,
  });
  expect(said.match(/SUCCESS/g)).toHaveLength(filesOf('prometheus/tests').length);
});

test.skipIf(!hasPromtool && !process.env.CI)('promtool reads every query of the dashboards', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lyceum-queries-'));
  try {
    const rules = DASHBOARDS.flatMap(({ rows }) =>
      rows.flatMap(([, graphs]) => graphs.flatMap(({ curves }) => curves.map(([expr]) => expr))),
    ).map((expr, index) => ({
      record: `query_${index}`,
      // What Grafana puts in.
      expr: expr.replaceAll('$__rate_interval', '1m').replaceAll('$service', 'chat|gateway'),
    }));
    const file = join(folder, 'queries.yml');
    await writeFile(file, JSON.stringify({ groups: [{ name: 'queries', rules }] }));
    const said = await run({ file: 'promtool', args: ['check', 'rules', file] });
    expect(said).toContain(`SUCCESS: ${rules.length} rules found`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

/** What a process exposes: by name, the labels and the values that they have. */
type Exposed = Map<string, Map<string, Set<string>>>;

function readMetrics(text: string, into: Exposed): void {
  for (const [, name, type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    for (const suffix of type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''])
      if (!into.has(name + suffix)) into.set(name + suffix, new Map());
  }
  for (const [, name, labels] of text.matchAll(/^(\w+)\{(.*)\} \S+$/gm)) {
    const known = into.get(name!)!;
    for (const [, label, value] of labels!.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      const values = known.get(label!) ?? new Set();
      known.set(label!, values.add(value!));
    }
  }
}

/** Labels that Prometheus gives, or that every metric of ours has. */
const EVERYWHERE = ['job', 'instance', 'service', 'le'];

/** Values of labels that take long to bring about: where it is tested that they do come about. */
const SEEN_ELSEWHERE: Record<string, string> = {
  'slow-client': 'gateway/proxy/websocket.test.ts',
  'slow consumer': 'shared/runtime/socket-server.test.ts',
};

/** What is wrong with a query, as far as can be seen without Prometheus: names, labels, values. */
function faultsOf(expr: string, exposed: Exposed): string[] {
  const faults: string[] = [];
  const labels = new Set(EVERYWHERE);
  let complete = true;
  for (const [, name, matchers = ''] of expr.matchAll(
    /(?<![\w:$])((?:lyceum|process|nodejs)[_:][\w:]+)(?:\{([^}]*)\})?/g,
  )) {
    if (name!.startsWith('lyceum:')) {
      if (!RULES.some(({ record }) => record === name)) faults.push(`${name} is not recorded`);
      complete = false;
      continue;
    }
    const known = exposed.get(name!);
    if (!known) {
      faults.push(`${name} is not exposed`);
      continue;
    }
    // Without a series nobody knows its labels.
    if (known.size <= 1) complete = false;
    for (const label of known.keys()) labels.add(label);
    for (const [, label, operator, value] of matchers.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)) {
      if (EVERYWHERE.includes(label!) || known.size <= 1) continue;
      const values = known.get(label!);
      if (!values) faults.push(`${name} has no label ${label}`);
      else if (operator === '=' && !values.has(value!) && !(value! in SEEN_ELSEWHERE))
        faults.push(`${name} was never seen with ${label}="${value}"`);
    }
  }
  for (const [, list] of expr.matchAll(/\b(?:by|on)\s*\(([^)]*)\)/g)) {
    for (const label of list!.split(',').map((part) => part.trim()))
      if (complete && !labels.has(label)) faults.push(`nothing in it has the label ${label}`);
  }
  return faults;
}

const QUERIES: [where: string, expr: string][] = [
  ...RULES.map(({ alert, record, expr }): [string, string] => [(alert ?? record)!, expr]),
  ...DASHBOARDS.flatMap(({ path, rows }) =>
    rows.flatMap(([, graphs]) =>
      graphs.flatMap(({ title, curves }) =>
        curves.map(([expr]): [string, string] => [`${path.split('/').at(-1)}: ${title}`, expr]),
      ),
    ),
  ),
];

describe('what a gateway and a chat expose while they are used', () => {
  const started = startedForOneTest();
  const exposed: Exposed = new Map();
  let chat: World;
  let scraped = '';

  beforeAll(async () => {
    chat = await startChat(1000);
    const school = await openSchool(chat);
    const auth = await started.upstream((request, response) => {
      // Large enough to be compressed.
      const keys = JSON.stringify({ keys: Array(100).fill(request.url) });
      response.setHeader('content-type', 'application/json');
      response.setHeader('cache-control', 'public, max-age=60');
      response.end(keys);
    });
    const content = await started.upstream((_, response) => response.writeHead(503).end());
    const gateway = await started.gateway({
      upstreams: { auth: auth.url, content: content.url, chat: chat.url },
      env: { LYCEUM_LIMIT_SCALE: '1' },
    });
    const ask = (path: string) => fetch(gateway.url + path).then((reply) => reply.arrayBuffer());
    for (let time = 0; time < 2; time++) await ask('/.well-known/jwks.json');
    for (let time = 0; time < 8; time++) await ask('/api/content/courses');
    // A class of 60, and one more each second: the last are refused.
    const login = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' };
    await Promise.all(Array.from({ length: 150 }, () => fetch(`${gateway.url}/api/auth/login`, login)));

    const ada = await connect(gateway.url, school.teacher.token);
    const ben = await connect(gateway.url, school.learner.token);
    await connect(gateway.url, school.learner.token, '/notifications');
    for (const client of [ada, ben]) await must(client, 'room:join', { roomId: school.roomId });
    const heard = Promise.all([ada, ben].map((client) => next(client, 'message', 60_000)));
    await must(ada, 'message:send', { roomId: school.roomId, clientId: 'one', body: 'Hello' });
    await heard;

    const scrape = async (): Promise<void> => {
      scraped = '';
      for (const url of [gateway.internalUrl, chat.url])
        scraped += await fetch(`${url}/metrics`).then((reply) => reply.text());
    };
    ada.disconnect();
    await eventually(async () => {
      await scrape();
      return (
        /^lyceum_chat_connections_closed_total\{/m.test(scraped) &&
        /^lyceum_gateway_sockets_closed_total\{/m.test(scraped)
      );
    }, 60_000);
    readMetrics(scraped, exposed);
    // On a machine with much else to do, what is embedded takes its time to start.
  }, 180_000);
  afterAll(async () => {
    disconnectAll();
    await started.stopAll();
    await chat.stop();
  });

  test.each(QUERIES)('%s', (_, expr) => {
    expect(faultsOf(expr, exposed)).toEqual([]);
  });

  test.each(Object.entries(SEEN_ELSEWHERE))('%s is tested in %s', (value, path) => {
    expect(read(path)).toContain(value);
  });

  test('a query for what nobody counts is found', () => {
    expect(faultsOf('sum(rate(lyceum_gateway_invented_total[5m]))', exposed)).toHaveLength(1);
    expect(faultsOf('lyceum:invented:ratio', exposed)).toHaveLength(1);
    expect(faultsOf('lyceum_gateway_open_sockets{service="gateway", kind="a"}', exposed)).toHaveLength(0);
    expect(faultsOf('lyceum_gateway_retries_total{outcome="a"}', exposed)).toHaveLength(1);
    expect(faultsOf('lyceum_gateway_retries_total{decision="perhaps"}', exposed)).toHaveLength(1);
    expect(faultsOf('sum by (colour) (lyceum_gateway_retries_total)', exposed)).toHaveLength(1);
  });

  test('chat counts what it does', () => {
    const value = (series: string): number =>
      Number(
        scraped
          .split('\n')
          .find((line) => line.startsWith(`${series} `))
          ?.slice(series.length),
      );
    expect(value('lyceum_chat_deliveries_total{service="test"}')).toBe(2);
    expect(value('lyceum_chat_batch_messages_sum{service="test"}')).toBe(1);
    expect(value('lyceum_chat_batch_messages_count{service="test"}')).toBe(1);
    expect(value('lyceum_chat_recovered_messages_total{service="test"}')).toBe(0);
    expect(value('lyceum_chat_lost_changes_total{service="test"}')).toBe(0);
    expect(value('lyceum_chat_connections{namespace="/",service="test"}')).toBe(1);
    expect(value('lyceum_chat_connections{namespace="/notifications",service="test"}')).toBe(1);
    expect(
      value('lyceum_chat_connections_closed_total{reason="client namespace disconnect",service="test"}'),
    ).toBe(1);
  });
});
