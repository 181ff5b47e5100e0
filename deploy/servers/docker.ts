import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Backend, Context } from './backend.ts';
import { withLock } from './lock.ts';
import { prepareSmtp } from './mail.ts';
import { MINIO_VERSION } from './native/minio.ts';
import { isAlive, run, startDetached, started, stopProcess, tail } from './process.ts';
import type { ServerName } from './state.ts';

type Contained = Exclude<ServerName, 'smtp'>;

const IMAGES = {
  postgres: 'postgres:17',
  redis: 'redis:7',
  rabbitmq: 'rabbitmq:4-management',
  s3: 'debian:stable-slim', // MinIO is mounted into it: its own image is published no more
  go: 'golang:1.26',
};

/** Whether a Docker daemon answers within three seconds. Having its command only is not enough. */
export async function dockerAnswers(): Promise<boolean> {
  try {
    return (await docker(['info', '--format', '{{.ServerVersion}}'], 3_000)).trim() !== '';
  } catch {
    return false;
  }
}

/** The servers as containers with a named volume each. The mail catcher is our own process in every case. */
export const dockerBackend: Backend = {
  install(context) {
    const pull = (image: string) => pullImage(image, context);
    return {
      postgres: pull(IMAGES.postgres),
      redis: pull(IMAGES.redis),
      rabbitmq: pull(IMAGES.rabbitmq),
      s3: Promise.all([pull(IMAGES.s3), buildMinioInContainer(context)]).then(() => {}),
      smtp: Promise.resolve(),
    };
  },

  async start(name, context) {
    if (name === 'smtp')
      return startDetached(await prepareSmtp(context), join(context.dir, 'smtp', 'server.log'));
    await docker(['rm', '--force', container(name, context)]);
    const { options, command, environment } = recipe(name, context);
    const names = Object.keys(environment).flatMap((variable) => ['--env', variable]); // values not on the command line
    await run({
      file: 'docker',
      args: [
        'run',
        '--detach',
        '--name',
        container(name, context),
        ...options,
        ...names,
        IMAGES[name],
        ...command,
      ],
      env: environment,
    });
    return started(Number(await inspect('{{.State.Pid}}', name, context)));
  },

  async isRunning(name, context, known) {
    if (name === 'smtp') return isAlive(known);
    return (await inspect('{{.State.Running}}', name, context).catch(() => 'false')) === 'true';
  },

  async stop(name, context, known) {
    if (name === 'smtp') return stopProcess(known, 'SIGTERM', 20_000);
    await docker(['stop', '--time', '20', container(name, context)]).catch(() => {}); // fails if there is none
    await docker(['rm', '--force', container(name, context)]);
  },

  tail(name, context) {
    if (name === 'smtp') return tail(join(context.dir, 'smtp', 'server.log'));
    const args = ['logs', '--tail', '15', container(name, context)];
    return run({ file: 'sh', args: ['-c', 'docker "$@" 2>&1', 'docker', ...args] }).catch(() => '(no log)');
  },

  async forget(name, context) {
    if (name !== 'smtp') await docker(['volume', 'rm', '--force', container(name, context)]);
  },
};

interface Recipe {
  options: string[];
  command: string[];
  environment: Record<string, string>;
}

function recipe(name: Contained, context: Context): Recipe {
  const { ports, secrets } = context.state;
  const publish = (port: number, inside: number) => ['--publish', `127.0.0.1:${port}:${inside}`];
  const volume = (folder: string) => ['--volume', `${container(name, context)}:${folder}`];
  switch (name) {
    case 'postgres':
      return {
        options: [...publish(ports.postgres, 5432), ...volume('/var/lib/postgresql/data'), '--shm-size=256m'],
        command: ['-c', 'max_connections=300', '-c', 'fsync=on'],
        environment: {
          POSTGRES_USER: 'lyceum',
          POSTGRES_PASSWORD: secrets.postgres,
          POSTGRES_DB: 'postgres',
          POSTGRES_INITDB_ARGS: '--auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8',
        },
      };
    case 'redis':
      return {
        options: [...publish(ports.redis, 6379), ...volume('/data')],
        command: ['sh', '-c', 'exec redis-server --appendonly yes --save "" --requirepass "$PASSWORD"'],
        environment: { PASSWORD: secrets.redis },
      };
    case 'rabbitmq':
      return {
        // The node's name is part of its data's path, and is made of the host name.
        options: [
          ...publish(ports.rabbitmq, 5672),
          ...publish(ports['rabbitmq.management'], 15672),
          ...volume('/var/lib/rabbitmq'),
          ...['--hostname', `lyceum-${context.state.id}`],
        ],
        command: [],
        environment: { RABBITMQ_DEFAULT_USER: 'lyceum', RABBITMQ_DEFAULT_PASS: secrets.rabbitmq },
      };
    case 's3':
      return {
        options: [
          ...publish(ports.s3, 9000),
          ...volume('/data'),
          ...['--volume', `${containerPrograms(context)}:/opt/minio:ro`],
        ],
        command: [`/opt/minio/${MINIO}`, 'server', '--address', ':9000', '/data'],
        environment: {
          MINIO_ROOT_USER: 'lyceum',
          MINIO_ROOT_PASSWORD: secrets.s3,
          MINIO_BROWSER: 'off',
          MINIO_UPDATE: 'off',
        },
      };
  }
}

const MINIO = `minio-${MINIO_VERSION}`;

/** Apart from the natively built ones: a container's system is Linux on every machine. */
function containerPrograms({ cache }: Context): string {
  return join(cache, 'docker-bin');
}

async function buildMinioInContainer(context: Context): Promise<void> {
  const folder = containerPrograms(context);
  const path = join(folder, MINIO);
  if (existsSync(path)) return;
  await mkdir(folder, { recursive: true });
  await withLock(
    `${path}.lock`,
    () => context.log('waiting for another build of MinIO'),
    async () => {
      if (existsSync(path)) return;
      context.log('building MinIO in a container, once on this machine: this takes some minutes');
      const install = `go install -trimpath github.com/minio/minio@${MINIO_VERSION} && cp "$(go env GOPATH)/bin/minio" /out/${MINIO}.new && mv /out/${MINIO}.new /out/${MINIO}`;
      const options = ['--rm', '--env', 'CGO_ENABLED=0', '--volume', `${folder}:/out`];
      await docker(['run', ...options, IMAGES.go, 'sh', '-c', install], 3_600_000);
    },
  );
}

async function pullImage(image: string, { log }: Context): Promise<void> {
  const present = await docker(['image', 'inspect', image]).then(
    () => true,
    () => false,
  );
  if (present) return;
  log(`pulling ${image}`);
  await docker(['pull', '--quiet', image]);
}

function container(name: Contained, { state }: Context): string {
  return `lyceum-${state.id}-${name}`;
}

async function inspect(format: string, name: Contained, context: Context): Promise<string> {
  return (await docker(['inspect', '--format', format, container(name, context)])).trim();
}

function docker(args: string[], timeout?: number): Promise<string> {
  return run({ file: 'docker', args }, timeout);
}
