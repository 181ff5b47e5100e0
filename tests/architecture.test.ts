import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/**
 * Who may import what: the table of ARCHITECTURE.md as data, checked against the imports of every file.
 * `own/` stands for the folder of the file's own service (or adapter), bare words for packages, `node:` for the
 * standard library. A file is judged by the first rule that fits it. Tests and what only tests use are free.
 */
interface Rule {
  layer: string;
  files: string;
  may: string[];
  /** Besides, as types only: they are gone when the code runs. */
  types?: string[];
  /** Taken away from `may` and `types` again. */
  never?: string[];
}

const CONTRACTS = 'shared/contracts/**';
const PORTS = 'shared/ports/**';
/** The kernel as operations see it. */
const KERNEL = [
  'shared/{auth,events,db,mail,media}/**',
  'shared/{errors,ids,recent-cache,wait-for}.ts',
  'shared/http/{context,cursor,etag,body}.ts',
];
const OBSERVABILITY = ['shared/observability/{log,trace,metrics}.ts'];
const DOORS = ['own/{http,socket,events,service,main}.ts', 'own/http/**'];
const CHOSEN_BY_PLATFORM = ['shared/adapters/**', 'shared/platform/**'];
const FOR_TESTS = ['shared/testing/**', 'tests/**', '**/*.test.ts', '**/{testing,test-*}.ts'];

const RULES: Rule[] = [
  { layer: 'contracts', files: 'shared/contracts/*.ts', may: ['zod', 'shared/contracts/common.ts'] },
  { layer: 'ports', files: PORTS, may: [CONTRACTS, PORTS], types: ['socket.io'] },

  { layer: 'main', files: 'services/*/main.ts', may: ['own/service.ts', 'shared/platform/process.ts'] },
  {
    layer: 'service.ts',
    files: 'services/*/service.ts',
    may: ['own/**', PORTS, ...KERNEL, 'shared/runtime/**', 'shared/service.ts', 'node:'],
    types: [CONTRACTS, ...OBSERVABILITY, 'kysely'],
    never: ['own/main.ts'],
  },
  {
    // A projection is one statement: an operation between the event and the store would only pass it on.
    layer: 'events',
    files: 'services/*/events.ts',
    may: [
      'own/operations/**',
      'own/live/**',
      'own/store/**',
      'own/context.ts',
      CONTRACTS,
      'shared/events/**',
      'shared/{errors,ids,service}.ts',
    ],
    types: ['own/**', PORTS, ...OBSERVABILITY],
  },
  {
    layer: 'doors (http, socket)',
    files: 'services/*/{http,socket}.ts',
    may: [
      'own/http/**',
      'own/operations/**',
      'own/live/**',
      'own/context.ts',
      CONTRACTS,
      'shared/{http,auth,events}/**',
      'shared/{errors,ids,service}.ts',
      'zod',
    ],
    types: ['own/**', PORTS, ...OBSERVABILITY],
  },
  {
    layer: 'doors (http, in parts)',
    files: 'services/*/http/**',
    may: [
      'own/http/**',
      'own/operations/**',
      'own/context.ts',
      CONTRACTS,
      'shared/{http,auth,events}/**',
      'shared/{errors,ids}.ts',
      'zod',
      'node:',
      'busboy',
    ],
    types: ['own/**', PORTS, ...OBSERVABILITY],
  },
  {
    layer: 'store',
    files: 'services/*/store/**',
    may: ['own/store/**', 'kysely', CONTRACTS, 'shared/db/**', 'shared/{ids,errors}.ts'],
    types: ['shared/mail/**', PORTS],
  },
  {
    layer: 'migrations',
    files: 'services/*/migrations/**',
    may: ['own/migrations/**', 'shared/db/**', 'shared/mail/mail-queue.ts'],
  },
  {
    layer: 'operations',
    files: 'services/*/{operations,templates}/**',
    may: ['own/**', PORTS, CONTRACTS, ...KERNEL, 'shared/observability/trace.ts', 'node:', 'zod'],
    types: [...OBSERVABILITY, 'shared/{service,jobs}.ts', 'kysely'],
    never: DOORS,
  },
  {
    // What a service has besides: chat's live rooms, content's processing, auth's keys.
    layer: "a service's own parts",
    files: 'services/**',
    may: [
      'own/**',
      PORTS,
      CONTRACTS,
      ...KERNEL,
      ...OBSERVABILITY,
      'shared/runtime/**',
      'node:',
      'zod',
      'jose',
      'prom-client',
      'sharp',
      'unhomoglyph',
      'unpdf',
      'file-type',
    ],
    types: ['shared/{service,jobs}.ts', 'kysely', 'socket.io'],
    never: DOORS,
  },

  ...Object.entries({
    database: ['kysely', '@electric-sql/pglite', 'postgres', 'shared/db/**'],
    'ephemeral-store': ['ioredis'],
    'event-bus': ['kysely', 'amqplib', 'shared/events/topology.ts'],
    mail: ['nodemailer'],
    'object-store': ['minio'],
    'socket-adapter': ['ioredis', '@socket.io/redis-adapter', 'socket.io'],
  }).map(([folder, vendors]) => ({
    layer: `adapters/${folder}`,
    files: `shared/adapters/${folder}/**`,
    may: [`shared/adapters/${folder}/**`, PORTS, 'shared/{errors,ids,wait-for}.ts', 'node:', ...vendors],
    types: [CONTRACTS, 'shared/observability/log.ts'],
  })),
  { layer: 'platform', files: 'shared/platform/**', may: ['shared/**', 'node:', 'zod', 'package.json'] },
  {
    layer: 'for browsers and other clients',
    files: 'shared/web/**',
    may: ['shared/web/**', CONTRACTS, 'markdown-it', 'socket.io-client', 'zod'],
  },
  {
    layer: 'kernel',
    files: 'shared/**',
    may: [
      '**',
      'node:',
      'hono',
      'zod',
      'kysely',
      'jose',
      'uuid',
      'pino',
      'prom-client',
      'bcryptjs',
      'sharp',
      'unpdf',
      'file-type',
      'socket.io',
      '@zxcvbn-ts/*',
      '@socket.io/bun-engine',
      '@hono/node-server',
    ],
    never: [...CHOSEN_BY_PLATFORM, 'services/**', 'gateway/**', 'deploy/**', 'web/**', 'bench/**'],
  },

  {
    layer: 'gateway',
    files: 'gateway/**',
    may: ['gateway/**', 'shared/**', 'node:', 'zod', 'hono', 'prom-client', 'swagger-ui-dist'],
    never: ['shared/adapters/**', 'shared/db/**', 'shared/mail/**'],
  },
  {
    layer: 'web',
    files: 'web/**',
    may: ['web/**', 'shared/web/**', CONTRACTS, 'zod', 'socket.io-client', '@grafana/*'],
  },
  {
    layer: 'deploy',
    files: 'deploy/**',
    may: [
      '**',
      'node:',
      'zod',
      'pino',
      'kysely',
      'postgres',
      'ioredis',
      'amqplib',
      'minio',
      'nodemailer',
      'smtp-server',
      'postal-mime',
      'socket.io-client',
    ],
    never: ['tests/**', 'bench/**'],
  },
];

const ROOT = join(import.meta.dir, '..');
const FOLDERS = ['gateway', 'services', 'shared', 'deploy', 'web'];

/** A glob; one that ends in a colon is a prefix (`node:`). */
const matches = (pattern: string, path: string): boolean =>
  pattern.endsWith(':') ? path.startsWith(pattern) : new Bun.Glob(pattern).match(path);
const isForTests = (path: string): boolean => FOR_TESTS.some((pattern) => matches(pattern, path));

const files: { path: string; source: string }[] = FOLDERS.flatMap((folder) => {
  try {
    return (readdirSync(join(ROOT, folder), { recursive: true }) as string[])
      .filter((name) => /\.tsx?$/.test(name) && !/(^|\/)(node_modules|\.)/.test(name))
      .map((name) => `${folder}/${name}`);
  } catch {
    return []; // not there yet
  }
})
  .filter((path) => !isForTests(path))
  .map((path) => ({ path, source: readFileSync(join(ROOT, path), 'utf8') }));

interface Import {
  /** A path from the root, `node:fs`, or a package's name. */
  target: string;
  typeOnly: boolean;
}

function importsOf(path: string, source: string): Import[] {
  const found: Import[] = [];
  const add = (specifier: string, typeOnly: boolean) =>
    found.push({
      target: specifier.startsWith('.') ? normalize(join(dirname(path), specifier)) : packageOf(specifier),
      typeOnly,
    });
  for (const [, clause, specifier] of source.matchAll(
    /^\s*(?:import|export)\b([^'"`;]*?)\bfrom\s*['"]([^'"]+)['"]/gm,
  )) {
    add(specifier!, onlyTypes(clause!));
  }
  for (const [, specifier] of source.matchAll(
    /(?:^\s*import|\bimport\s*\(|\brequire\s*\()\s*['"]([^'"]+)['"]/gm,
  ))
    add(specifier!, false);
  return found;
}

/** `import type …`, or braces in which every name is a type. */
function onlyTypes(clause: string): boolean {
  if (/^\s*type\b(?!\s*,)/.test(clause)) return true;
  const names = clause
    .match(/^\s*\{([^}]*)\}\s*$/)?.[1]
    ?.split(',')
    .map((name) => name.trim())
    .filter(Boolean);
  return names !== undefined && names.length > 0 && names.every((name) => name.startsWith('type '));
}

const packageOf = (specifier: string): string =>
  specifier.includes(':')
    ? specifier
    : specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/');

/** The reason why `path` must not import `target`, or undefined. */
function breach(path: string, { target, typeOnly }: Import): string | undefined {
  const rule = RULES.find((candidate) => matches(candidate.files, path));
  if (!rule) return 'no rule covers this file';
  const own = path.match(/^services\/[^/]+/)?.[0] ?? '-';
  const fits = (pattern: string) => matches(pattern.replace(/^own\//, `${own}/`), target);
  if (isForTests(target)) return 'only tests may import what is for tests';
  if (target.startsWith('services/') && path.startsWith('services/') && !target.startsWith(`${own}/`)) {
    return 'no service imports another';
  }
  const allowed = [...rule.may, ...(typeOnly ? (rule.types ?? []) : [])];
  if (allowed.some(fits) && !rule.never?.some(fits)) return undefined;
  return `${rule.layer} may not${typeOnly ? ', even as a type' : ''}`;
}

/** The source without comments, roughly: whole-line block comments and what follows `//`. */
const withoutComments = (source: string): string =>
  source.replace(/^\s*\/\*[\s\S]*?\*\//gm, '').replace(/(^|\s)\/\/.*$/gm, '');

/** `path:line` of every place where code, not a comment, fits the pattern. */
function placesOf(pattern: RegExp, allowed: string[]): string[] {
  return files
    .filter(({ path }) => !allowed.some((glob) => matches(glob, path)))
    .flatMap(({ path, source }) =>
      withoutComments(source)
        .split('\n')
        .filter((line) => pattern.test(line))
        .map((line) => `${path}: ${line.trim()}`),
    );
}

describe('architecture', () => {
  test('every file imports only what its layer may', () => {
    const breaches = files.flatMap(({ path, source }) =>
      importsOf(path, source).flatMap((entry) => {
        const reason = breach(path, entry);
        return reason ? [`${path} imports ${entry.target}: ${reason}`] : [];
      }),
    );
    expect(breaches).toEqual([]);
  });

  test('the check itself sees breaches', () => {
    const reasons = (path: string, source: string) =>
      importsOf(path, source).map((entry) => breach(path, entry));
    expect(reasons('services/chat/operations/a.ts', "import { x } from '../../content/store/b.ts';")).toEqual(
      ['no service imports another'],
    );
    expect(reasons('services/chat/operations/a.ts', "import { x } from '../http.ts';")).toEqual([
      'operations may not',
    ]);
    expect(
      reasons('services/chat/operations/a.ts', "import { x } from '../../../shared/adapters/mail/smtp.ts';"),
    ).toEqual(['operations may not']);
    expect(reasons('services/chat/store/a.ts', "import type { X } from '../operations/b.ts';")).toEqual([
      'store may not, even as a type',
    ]);
    expect(reasons('services/chat/http.ts', "import { x } from './store/b.ts';")).toEqual([
      'doors (http, socket) may not',
    ]);
    expect(reasons('services/chat/http.ts', "import { type X, type Y } from './store/b.ts';")).toEqual([
      undefined,
    ]);
    expect(reasons('shared/contracts/chat.ts', "export { x } from './events.ts';")).toEqual([
      'contracts may not',
    ]);
    expect(reasons('shared/http/app.ts', "const x = await import('../platform/embedded.ts');")).toEqual([
      'kernel may not',
    ]);
    expect(
      reasons('services/chat/service.ts', "import { x } from '../../shared/testing/service.ts';"),
    ).toEqual(['only tests may import what is for tests']);
    expect(reasons('gateway/a.ts', "import ioredis from 'ioredis';")).toEqual(['gateway may not']);
  });

  test('packages are named in package.json, and those that run are no devDependencies', () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const missing = files
      .filter(({ path }) => !path.startsWith('deploy/') && !path.startsWith('web/'))
      .flatMap(({ path, source }) =>
        importsOf(path, source)
          .filter(({ target, typeOnly }) => !typeOnly && !/[/:].*\.\w+$|^node:|\.json$/.test(target))
          .filter(({ target }) => !(target in manifest.dependencies))
          .map(({ target }) => `${path} imports ${target}`),
      );
    expect(missing).toEqual([]);
  });

  test('the environment is read at entry points only', () => {
    const entryPoints = [
      '{gateway,services/*}/main.ts',
      'deploy/**',
      'shared/platform/process.ts',
      'shared/platform/signals.ts',
      'shared/runtime/**',
    ];
    expect(placesOf(/\bprocess\.env\b|\bBun\.env\b|\bDeno\.env\b/, entryPoints)).toEqual([]);
  });

  test('one folder knows which runtime this is', () => {
    expect(
      placesOf(/\b(Bun|Deno)\.\w|globalThis[^;]*\b(Bun|Deno)\b|\bimport\.meta\.(dir|path|file|main)\b/, [
        'shared/runtime/**',
        'deploy/**',
        'web/**',
      ]),
    ).toEqual([]);
    const bunModules = files
      .filter(({ path }) => !path.startsWith('shared/runtime/') && !path.startsWith('deploy/'))
      .flatMap(({ path, source }) =>
        importsOf(path, source)
          .filter(({ target }) => /^(bun|npm:|jsr:|bun:)/.test(target))
          .map(({ target }) => `${path} imports ${target}`),
      );
    expect(bunModules).toEqual([]);
  });
});
