import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseGatewayConfig } from '../gateway/config.ts';
import { DASHBOARDS } from '../grafana/build.ts';
import { SERVICES } from '../shared/contracts/common.ts';
import { ServiceEnvironment } from '../shared/platform/cluster.ts';
import { parseEnvironment } from '../shared/platform/environment.ts';
import { MINIO_VERSION } from './servers/native/minio.ts';

/**
 * Whether the files that deploy Lyceum still fit the code: versions, variables, the generated dashboards.
 * Needs none of the tools that these files are for.
 */

interface ComposeFile {
  services: Record<
    string,
    { environment?: Record<string, string | null>; ports?: string[]; command?: string[] }
  >;
}

const ROOT = join(import.meta.dir, '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const faults: string[] = [];
const expect = (ok: boolean, fault: string): void => {
  if (!ok) faults.push(fault);
};
/** A line without a value is an empty variable. */
const variables = (lines: Record<string, string | null> = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(lines).map(([name, value]) => [name, value ?? '']));
const refusal = (check: () => unknown): string | undefined => {
  try {
    check();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

checkVersions();
checkCompose();
checkChart();
checkDashboards();
for (const fault of faults) console.error(fault);
process.exit(faults.length === 0 ? 0 : 1);

function checkVersions(): void {
  const { version, devDependencies } = JSON.parse(read('package.json')) as {
    version: string;
    devDependencies: { bun: string };
  };
  const pins: [path: string, line: string][] = [
    ['deploy/Dockerfile', `ARG BUN_VERSION=${devDependencies.bun}`],
    ['deploy/minio.Dockerfile', `ARG MINIO_VERSION=${MINIO_VERSION}`],
    ['helm/lyceum/Chart.yaml', `appVersion: ${version}`],
  ];
  for (const [path, line] of pins) {
    expect(read(path).split('\n').includes(line), `${path} should have the line: ${line}`);
  }
}

/** Every process of docker-compose.yml would take its variables, once .env is filled in. */
function checkCompose(): void {
  const text = read('docker-compose.yml');
  const example = read('.env.example').split('\n');
  const required = new Set([...text.matchAll(/\$\{(\w+):\?/g)].map(([, name]) => name!));
  for (const [, name] of text.matchAll(/\$\{(\w+)/g)) {
    const line = example.find((entry) => entry.startsWith(`${name}=`));
    expect(line !== undefined, `.env.example lacks ${name}, which docker-compose.yml uses.`);
    if (required.has(name!))
      expect(line === `${name}=`, `.env.example has a value for ${name}, which each must choose.`);
  }

  const samples: Record<string, string> = {
    PUBLIC_URL: 'https://school.example.org',
    SMTP_URL: 'smtp://mail.example.org:587',
  };
  const filled = text.replace(/(?<!\$)\$\{(\w+)(?::(\?|-)([^}]*))?\}/g, (_, name: string, kind, fallback) =>
    kind === '-' ? fallback : (samples[name] ?? 'sample0123456789'),
  );
  const { services } = Bun.YAML.parse(filled) as ComposeFile;
  for (const name of SERVICES) {
    const { environment, command } = services[name] ?? {};
    const fault = refusal(() =>
      parseEnvironment(ServiceEnvironment, { PORT: '8080', ...variables(environment) }),
    );
    expect(fault === undefined, `docker-compose.yml, ${name}: ${fault}`);
    expect(command?.[1] === `services/${name}/main.ts`, `docker-compose.yml, ${name}: not its own command.`);
  }
  const fault = refusal(() => parseGatewayConfig(variables(services.gateway?.environment)));
  expect(fault === undefined, `docker-compose.yml, gateway: ${fault}`);
  for (const [name, { ports }] of Object.entries(services)) {
    expect(name === 'gateway' || ports === undefined, `docker-compose.yml publishes a port of ${name}.`);
  }
}

/** The chart has each service, and its template each variable that has no default. */
function checkChart(): void {
  const { services } = Bun.YAML.parse(read('helm/lyceum/values.yaml')) as { services: object };
  expect(
    Object.keys(services).sort().join() === [...SERVICES].sort().join(),
    'helm/lyceum/values.yaml does not have exactly the services that there are.',
  );
  const templates = ['services.yaml', '_helpers.tpl']
    .map((name) => read(`helm/lyceum/templates/${name}`))
    .join('');
  const inImage = ['PORT'];
  for (const [name, schema] of Object.entries(ServiceEnvironment.shape)) {
    if (schema.safeParse(undefined).success || inImage.includes(name)) continue;
    const given = templates.includes(`name: ${name}\n`) || templates.includes(`"name" "${name}"`);
    expect(given, `helm/lyceum gives the services no ${name}.`);
  }
}

function checkDashboards(): void {
  for (const { path, text } of DASHBOARDS) {
    const isInStep = existsSync(path) && readFileSync(path, 'utf8') === text;
    expect(
      isInStep,
      `${relative(ROOT, path)} is not what grafana/build.ts makes: run \`bun grafana/build.ts\`.`,
    );
  }
}
