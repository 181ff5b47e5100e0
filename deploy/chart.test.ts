import { beforeAll, describe, expect, test } from 'bun:test';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseGatewayConfig } from '../gateway/config.ts';
import { gatewayEnvironment } from '../gateway/config-file.ts';
import { SERVICES } from '../shared/contracts/common.ts';
import { ServiceEnvironment } from '../shared/platform/cluster.ts';
import { parseEnvironment } from '../shared/platform/environment.ts';
import { has, run } from './servers/process.ts';

/** The chart as Helm renders it: would the processes start with it, and do what the values say? Needs `helm` on the PATH. */

const CHART = join(import.meta.dir, '..', 'helm', 'lyceum');
const LEAST = {
  image: { repository: 'registry.example.org/lyceum' },
  publicUrl: 'https://school.example.org',
  existingSecret: 'lyceum',
  servers: {
    postgres: 'postgres.example.org:5432/lyceum',
    redis: 'redis://:$(REDIS_PASSWORD)@redis.example.org:6379',
    rabbitmq: 'amqp://lyceum:$(RABBITMQ_PASSWORD)@rabbitmq.example.org:5672',
    s3: 'https://s3.example.org',
    smtp: 'smtp://lyceum:$(SMTP_PASSWORD)@mail.example.org:587',
  },
  mailFrom: 'My School <school@example.org>',
};

interface Probe {
  httpGet: { path: string; port: string; scheme: string };
}
interface Container {
  env: { name: string; value?: string }[];
  ports: { name: string; containerPort: number }[];
  startupProbe: Probe & { periodSeconds: number; failureThreshold: number };
  livenessProbe: Probe;
  readinessProbe: Probe;
  volumeMounts: { name: string; mountPath: string }[];
}
interface Manifest {
  kind: string;
  metadata: { name: string };
  data: Record<string, string>;
  spec: {
    clusterIP?: string;
    sessionAffinity?: string;
    ports: { name: string; port: number; targetPort: string }[];
    ingress: { ports: { port: string }[] }[];
    rules: { http: { paths: { backend: { service: { port: { name: string } } } }[] } }[];
    template: {
      spec: { containers: Container[]; volumes: { name: string; secret?: { secretName: string } }[] };
    };
  };
}

async function render(values: object): Promise<(kind: string, name: string) => Manifest> {
  const folder = await mkdtemp(join(tmpdir(), 'lyceum-chart-'));
  try {
    const file = join(folder, 'values.json');
    await writeFile(file, JSON.stringify({ ...LEAST, ...values }));
    const args = ['template', 'school', CHART, '--values', file, '--kube-version', '1.31.0'];
    const manifests = (await run({ file: 'helm', args }, 60_000))
      .split(/^---$/m)
      .map((text) => Bun.YAML.parse(text) as Manifest | null)
      .filter((manifest) => manifest !== null);
    return (kind, name) => {
      const found = manifests.find((one) => one.kind === kind && one.metadata.name === name);
      if (!found) throw new Error(`There is no ${kind} ${name}.`);
      return found;
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const containerOf = (manifest: Manifest): Container => manifest.spec.template.spec.containers[0]!;
/** What is from the Secret is made up. */
const environmentOf = (manifest: Manifest): Record<string, string> =>
  Object.fromEntries(containerOf(manifest).env.map(({ name, value }) => [name, value ?? 'sample']));

const hasHelm = await has('helm');

describe.skipIf(!hasHelm)('with the least values', () => {
  let chart: Awaited<ReturnType<typeof render>>;
  beforeAll(async () => {
    chart = await render({});
  });

  test('the gateway starts with its defaults, and looks each service up by its pods', () => {
    const { LYCEUM_GATEWAY_CONFIG, ...environment } = environmentOf(chart('Deployment', 'school-gateway'));
    const config = parseGatewayConfig(environment);
    for (const name of SERVICES) {
      const service = chart('Service', `school-${name}-pods`).spec;
      expect(service.clusterIP).toBe('None');
      expect(service.sessionAffinity).toBeUndefined();
      expect(config.upstreams[name]).toEqual([
        expect.objectContaining({
          kind: 'dns',
          name: `school-${name}-pods.default.svc.cluster.local`,
          port: 8080,
        }),
      ]);
    }
    const { upstreams, publicUrl, ...rest } = config;
    const least = Object.fromEntries(SERVICES.map((name) => [`UPSTREAM_${name.toUpperCase()}`, 'http://a']));
    expect({ upstreams: {}, publicUrl: '', ...rest } as object).toEqual({
      ...parseGatewayConfig(least),
      upstreams: {},
      publicUrl: '',
    });
    expect(LYCEUM_GATEWAY_CONFIG).toBe('/etc/lyceum/config/gateway.json');
    expect(chart('ConfigMap', 'school-gateway').data).toEqual({ 'gateway.json': '{}' });
  });

  test.each([...SERVICES])('%s takes its variables', (name) => {
    const environment = environmentOf(chart('Deployment', `school-${name}`));
    expect(parseEnvironment(ServiceEnvironment, { PORT: '8080', ...environment })).toMatchObject({
      DATABASE_POOL: 10,
      SOCKET_ADAPTER: 'pubsub',
    });
  });

  test('a service has time to migrate before it must answer', () => {
    const { startupProbe } = containerOf(chart('Deployment', 'school-chat'));
    expect(startupProbe.periodSeconds * startupProbe.failureThreshold).toBe(3600);
  });

  test('probes ask what stays true: healthz whether it lives, readyz whether it should get requests', () => {
    for (const name of ['gateway', ...SERVICES]) {
      const { startupProbe, livenessProbe, readinessProbe } = containerOf(
        chart('Deployment', `school-${name}`),
      );
      const at = (path: string) => ({ path, port: 'http', scheme: 'HTTP' });
      expect(startupProbe.httpGet).toEqual(at('/healthz'));
      expect(livenessProbe.httpGet).toEqual(at('/healthz'));
      expect(readinessProbe.httpGet).toEqual(at('/readyz'));
    }
  });
});

test.skipIf(!hasHelm)('values reach the gateway and the services', async () => {
  const chart = await render({
    limitScale: 3,
    accessTokenSeconds: 300,
    serviceDefaults: { databasePool: 20 },
    services: { chat: { socketAdapter: 'sharded', env: { OWN: 'yes' } } },
    gateway: {
      trustedProxies: ['10.0.0.0/8', '192.168.0.1'],
      corsOrigins: ['https://a.example'],
      forwardedHeaders: 'both',
      via: 'lyceum',
      faroUrl: 'https://faro.example',
      accessLogSample: 0.25,
      cacheMemoryMb: 32,
      socketsPerAddress: 1_000_000,
      upstreams: { maxInFlight: 512, maxInFlightOf: { content: 256 }, checkMs: 500 },
      reloadable: { CORS_ORIGINS: ['https://b.example', 'https://c.example'], ACCESS_LOG_SAMPLE: 0.5 },
    },
  });
  const environment = environmentOf(chart('Deployment', 'school-gateway'));
  const config = parseGatewayConfig(environment);
  expect(config).toMatchObject({
    limitScale: 3,
    trustedProxies: ['10.0.0.0/8', '192.168.0.1'],
    corsOrigins: ['https://a.example'],
    forwardingHeaders: { xForwarded: true, forwarded: true, via: 'lyceum' },
    faroUrl: 'https://faro.example',
    accessLogSample: 0.25,
    cacheBytes: 32 * 1_048_576,
    socketsPerAddress: 1_000_000,
    tls: undefined,
  });
  expect(config.upstreamSettings.content).toMatchObject({ maxInFlight: 256, checkEveryMs: 500 });
  expect(config.upstreamSettings.chat).toMatchObject({ maxInFlight: 512, checkEveryMs: 500 });

  const file = join(await mkdtemp(join(tmpdir(), 'lyceum-chart-')), 'gateway.json');
  await writeFile(file, chart('ConfigMap', 'school-gateway').data['gateway.json']!);
  const reloaded = parseGatewayConfig(gatewayEnvironment({ ...environment, LYCEUM_GATEWAY_CONFIG: file }));
  expect(reloaded).toMatchObject({
    corsOrigins: ['https://b.example', 'https://c.example'],
    accessLogSample: 0.5,
  });
  await rm(join(file, '..'), { recursive: true });

  expect(environmentOf(chart('Deployment', 'school-chat'))).toMatchObject({
    SOCKET_ADAPTER: 'sharded',
    DATABASE_POOL: '20',
    LYCEUM_LIMIT_SCALE: '3',
    BUN_JSC_heapGrowthMaxIncrease: '0.6',
    BUN_JSC_minEdenToOldGenerationRatio: '0.15',
    OWN: 'yes',
  });
  expect(environmentOf(chart('Deployment', 'school-auth')).LYCEUM_ACCESS_TOKEN_SECONDS).toBe('300');
});

describe.skipIf(!hasHelm)('TLS at the gateway', () => {
  const tls = { secret: 'school-tls', http2: true, redirect: true };

  test('its Secret is mounted where the variables say; probes, ports and the ingress follow', async () => {
    const ingress = { enabled: true, host: 'school.example.org' };
    const chart = await render({ gateway: { tls }, ingress });
    const deployment = chart('Deployment', 'school-gateway');
    const { env: _, ...container } = containerOf(deployment);
    const config = parseGatewayConfig(environmentOf(deployment));
    expect(config).toMatchObject({
      tls: { certFile: '/etc/lyceum/tls/tls.crt', keyFile: '/etc/lyceum/tls/tls.key' },
      http2: true,
      redirectPort: 8082,
    });
    expect(container.volumeMounts).toContainEqual(
      expect.objectContaining({ name: 'tls', mountPath: '/etc/lyceum/tls' }),
    );
    const { volumes } = deployment.spec.template.spec;
    expect(volumes.find(({ name }) => name === 'tls')?.secret?.secretName).toBe('school-tls');
    expect(container.ports).toContainEqual({ name: 'redirect', containerPort: 8082 });
    for (const probe of [container.startupProbe, container.livenessProbe, container.readinessProbe])
      expect(probe.httpGet.scheme).toBe('HTTPS');
    expect(chart('Service', 'school-gateway').spec.ports).toEqual([
      { name: 'https', port: 443, targetPort: 'http' },
      { name: 'http', port: 80, targetPort: 'redirect' },
    ]);
    expect(chart('NetworkPolicy', 'school-gateway').spec.ingress[0]?.ports).toEqual([
      { port: 'http' },
      { port: 'redirect' },
    ]);
    expect(chart('Ingress', 'school').spec.rules[0]?.http.paths[0]?.backend.service.port.name).toBe('https');
  });

  test('what needs it is refused without it', async () => {
    await expect(render({ gateway: { tls: { secret: '', http2: true } } })).rejects.toThrow(
      'need gateway.tls.secret',
    );
  });
});
