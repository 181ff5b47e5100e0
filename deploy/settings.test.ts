import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GATEWAY_VARIABLES, parseGatewayConfig } from '../gateway/config.ts';
import { SERVICES } from '../shared/contracts/common.ts';
import { ServiceEnvironment } from '../shared/platform/cluster.ts';
import { GatewayProcessEnvironment } from '../shared/platform/cluster-gateway.ts';
import { STOP_DEADLINE_MS } from '../shared/platform/signals.ts';

/** Whatever the gateway and chat can be told can be told in Compose (by .env), in the chart, and is in docs/deploy.md. */

const ROOT = join(import.meta.dir, '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Values {
  gateway: {
    forwardedHeaders: string;
    via: string;
    faroUrl: string;
    accessLogSample: number;
    cacheMemoryMb: number;
    socketsPerAddress: number;
    upstreams: { maxInFlight: number; checkMs: number };
  };
  limitScale: number;
  accessTokenSeconds: number;
  logLevel: string;
  serviceDefaults: { databasePool: number };
  services: { chat: { socketAdapter: string } };
  servers: { s3Bucket: string };
}
const values = Bun.YAML.parse(read('helm/lyceum/values.yaml')) as Values;

/** Names of variables in code that reads the environment without a schema. */
const namesIn = (...paths: string[]): string[] =>
  paths.flatMap((path) =>
    [...read(path).matchAll(/(?:process\.env\.|')([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\b/g)].map(
      ([, name]) => name!,
    ),
  );
const SIGNALS = 'shared/platform/signals.ts';

const PROCESSES = {
  gateway: {
    reads: new Set([
      ...GATEWAY_VARIABLES,
      ...Object.keys(GatewayProcessEnvironment.shape),
      ...namesIn('gateway/main.ts', 'gateway/config-file.ts', SIGNALS),
    ]),
    template: 'gateway.yaml',
  },
  chat: {
    reads: new Set([
      ...Object.keys(ServiceEnvironment.shape),
      ...namesIn('services/chat/main.ts', 'shared/platform/process.ts', SIGNALS),
    ]),
    template: 'services.yaml',
  },
};

const IN_IMAGE = 'the image says it: who needs another port publishes it under another';
const OF_AUTH = 'only auth acts on it, and is given it';
const OF_STARTERS = 'from whoever starts us as a child process: npm start, npm run cluster';
/** What need not be given, and why. */
const EXCEPTIONS: Record<keyof typeof PROCESSES, Record<string, string>> = {
  gateway: {
    HOST: IN_IMAGE,
    PORT: IN_IMAGE,
    INTERNAL_HOST: IN_IMAGE,
    INTERNAL_PORT: IN_IMAGE,
    LYCEUM_DEV_MAIL: 'a mail catcher is for development',
    LYCEUM_ADMIN_EMAIL: OF_AUTH,
    LYCEUM_ADMIN_PASSWORD: OF_AUTH,
    LYCEUM_ACCESS_TOKEN_SECONDS: OF_AUTH,
    LYCEUM_SUPERVISED: OF_STARTERS,
    LYCEUM_PARENT_PID: OF_STARTERS,
  },
  chat: {
    HOST: IN_IMAGE,
    PORT: IN_IMAGE,
    LYCEUM_ADMIN_EMAIL: OF_AUTH,
    LYCEUM_ADMIN_PASSWORD: OF_AUTH,
    LYCEUM_ACCESS_TOKEN_SECONDS: OF_AUTH,
    LYCEUM_SUPERVISED: OF_STARTERS,
    LYCEUM_PARENT_PID: OF_STARTERS,
  },
};

const compose = (text = read('docker-compose.yml')) =>
  Bun.YAML.parse(text) as {
    services: Record<string, { environment: Record<string, string>; stop_grace_period: string }>;
  };
const inCompose = (name: string, text?: string): string[] =>
  Object.keys(compose(text).services[name]!.environment);

/** `name: X` and `"name" "X"` of the templates; a name made with a service's stands for all of them. */
const inChart = (template: string, text = read(`helm/lyceum/templates/${template}`)): string[] =>
  [
    ...(text + read('helm/lyceum/templates/_helpers.tpl')).matchAll(
      /- name: ([A-Z][A-Z0-9_{}a-z $]+)$|"name" "(\w+)"/gm,
    ),
  ]
    .map(([, plain, quoted]) => (plain ?? quoted)!)
    .flatMap((name) => SERVICES.map((service) => name.replace('{{ upper $name }}', service.toUpperCase())));

const inDocs = (text = read('docs/deploy.md')): string[] =>
  [...text.matchAll(/^\| (`[^|]+) \|/gm)]
    .flatMap(([, cell]) => [...cell!.matchAll(/`([A-Z0-9_<>]+)`/gi)].map(([, name]) => name!))
    .flatMap((name) => SERVICES.map((service) => name.replace('<SERVICE>', service.toUpperCase())));

const lacking = (wanted: Iterable<string>, given: string[]): string[] =>
  [...wanted].filter((name) => !given.includes(name));

describe.each(Object.entries(PROCESSES))('every setting of %s', (name, { reads, template }) => {
  const exceptions = EXCEPTIONS[name as keyof typeof PROCESSES];
  const wanted = [...reads].filter((setting) => !(setting in exceptions));

  test('is in docker-compose.yml', () => {
    expect(lacking(wanted, inCompose(name))).toEqual([]);
  });

  test('is in the chart', () => {
    expect(lacking(wanted, inChart(template))).toEqual([]);
  });

  test('is in docs/deploy.md, unless only our own programs set it', () => {
    const documented = [...reads].filter((setting) => exceptions[setting] !== OF_STARTERS);
    expect(lacking(documented, inDocs())).toEqual([]);
  });

  test('that is an exception is one: it is read, and not given', () => {
    const given = new Set([...inCompose(name), ...inChart(template)]);
    // The template of all services has what only auth is given.
    const idle = Object.keys(exceptions).filter(
      (setting) => !reads.has(setting) || (given.has(setting) && exceptions[setting] !== OF_AUTH),
    );
    expect(idle).toEqual([]);
  });

  test('that were forgotten would be noticed', () => {
    const without = (text: string, pattern: RegExp): string => text.replaceAll(pattern, '');
    const victim = name === 'gateway' ? 'VIA' : 'SOCKET_ADAPTER';
    expect(reads.has(victim)).toBe(true);
    const poorCompose = without(read('docker-compose.yml'), new RegExp(`^ +${victim}: .*\n`, 'gm'));
    expect(lacking(wanted, inCompose(name, poorCompose))).toEqual([victim]);
    const text = read(`helm/lyceum/templates/${template}`);
    const poorChart = without(text, new RegExp(`^ +- name: ${victim}\n`, 'gm'));
    expect(lacking(wanted, inChart(template, poorChart))).toEqual([victim]);
    expect(
      lacking(wanted, inDocs(without(read('docs/deploy.md'), new RegExp(`\`${victim}\``, 'g')))),
    ).toEqual([victim]);
  });
});

test('what Compose gives can be chosen in .env, but for the addresses of its own services', () => {
  const { gateway, chat } = compose().services;
  for (const environment of [gateway!.environment, chat!.environment]) {
    const fixed = Object.entries(environment)
      .filter(([, value]) => !value.includes('${'))
      .filter(([name, value]) => !/^(dns\+)?http:\/\/[a-z0-9]+:\d+$/.test(value) && !name.startsWith('BUN_'))
      .map(([name]) => name);
    expect(fixed).toEqual(['S3_ACCESS_KEY'].filter((name) => name in environment));
  }
});

test('the values of the chart are the defaults of the code', () => {
  const least = Object.fromEntries(SERVICES.map((name) => [`UPSTREAM_${name.toUpperCase()}`, 'http://a']));
  const { gateway, serviceDefaults, services, servers } = values;
  const given = {
    ...least,
    LOG_LEVEL: values.logLevel,
    LYCEUM_LIMIT_SCALE: String(values.limitScale),
    FORWARDED_HEADERS: gateway.forwardedHeaders,
    VIA: gateway.via,
    FARO_URL: gateway.faroUrl,
    ACCESS_LOG_SAMPLE: String(gateway.accessLogSample),
    CACHE_MEMORY_MB: String(gateway.cacheMemoryMb),
    SOCKETS_PER_ADDRESS: String(gateway.socketsPerAddress),
    UPSTREAM_MAX_IN_FLIGHT: String(gateway.upstreams.maxInFlight),
    UPSTREAM_CHECK_MS: String(gateway.upstreams.checkMs),
  };
  expect(parseGatewayConfig(given)).toEqual(parseGatewayConfig(least));

  const { shape } = ServiceEnvironment;
  expect({
    DATABASE_POOL: serviceDefaults.databasePool,
    SOCKET_ADAPTER: services.chat.socketAdapter,
    S3_BUCKET: servers.s3Bucket,
    LYCEUM_ACCESS_TOKEN_SECONDS: values.accessTokenSeconds,
    LOG_LEVEL: values.logLevel,
  } as object).toEqual({
    DATABASE_POOL: shape.DATABASE_POOL.parse(undefined),
    SOCKET_ADAPTER: shape.SOCKET_ADAPTER.parse(undefined),
    S3_BUCKET: shape.S3_BUCKET.parse(undefined),
    LYCEUM_ACCESS_TOKEN_SECONDS: shape.LYCEUM_ACCESS_TOKEN_SECONDS.parse(undefined),
    LOG_LEVEL: shape.LOG_LEVEL.parse(undefined),
  });
});

test('a process may take as long to stop as it does', () => {
  const helpers = read('helm/lyceum/templates/_helpers.tpl');
  const pause = Number(/preStop: \{ exec: \{ command: \[sleep, '(\d+)'\] \} \}/.exec(helpers)?.[1]);
  const patience = Number(/terminationGracePeriodSeconds: (\d+)/.exec(helpers)?.[1]);
  expect(patience).toBeGreaterThan(pause + STOP_DEADLINE_MS / 1_000);
  for (const name of ['gateway', ...SERVICES]) {
    const { stop_grace_period: period } = compose().services[name]!;
    expect(Number(/^(\d+)s$/.exec(period)?.[1])).toBeGreaterThan(STOP_DEADLINE_MS / 1_000);
  }
});
