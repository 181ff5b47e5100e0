import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AUDIENCE, ISSUER } from '../../shared/auth/tokens.ts';
import { SERVICES } from '../../shared/contracts/common.ts';
import { waitFor } from '../../shared/wait-for.ts';
import { proxyBlocks, startNginx } from './nginx.ts';
import { freePorts } from './ports.ts';
import { type Program, runToEnd, start, whileRunning } from './programs.ts';
import { buildTraefik, traefikConfig, traefikPath } from './traefik.ts';
import type { Upstreams } from './upstreams.ts';

const ROOT = join(import.meta.dir, '..', '..');
const PEERS_DIR = join(import.meta.dir, 'peers');
const READY_MS = 30_000;

/** What the peers stand on. */
export interface Ground {
  upstreams: Upstreams;
  redisUrl: string;
}

export interface RunningPeer {
  programs: Program[];
  /** Absent: every route is at the upstream itself. */
  port?: number;
  /** Where it writes its line for each request. */
  accessLog?: string;
}

interface Peer {
  /** What it does to a request besides passing it on. */
  policies: string;
  checksToken: boolean;
  /** Gets what it needs. Rejects with the reason why it can't be had. */
  prepare?(): Promise<void>;
  start(ground: Ground, dir: string): Promise<RunningPeer>;
}

const PEERS = {
  direct: { policies: 'no proxy', checksToken: false, start: async () => ({ programs: [] }) },

  nginx: {
    policies: 'none; one worker',
    checksToken: false,
    start: (ground, dir) => nginxPeer(ground, dir, false),
  },
  'nginx-limit': {
    policies: 'limit_req per address, access log (buffered); one worker',
    checksToken: false,
    start: (ground, dir) => nginxPeer(ground, dir, true),
  },

  lyceum: {
    policies:
      'token, revocation, limit per user in Redis, head checks, security headers, trace, metrics, access log; one process',
    checksToken: true,
    start: (ground, dir) => lyceumPeer(ground, dir, 1),
  },
  'lyceum-2': {
    policies: 'the same; two processes on one port',
    checksToken: true,
    start: (ground, dir) => lyceumPeer(ground, dir, 2),
  },

  express: {
    policies:
      'token (jose), limit per address in memory, access log (morgan); no metrics; one process of Node',
    checksToken: true,
    prepare: installPeers,
    start: (ground, dir) => nodePeer(ground, dir, 'express.mjs', false),
  },
  'express-cached': {
    policies: 'the same, and tokens that were checked are remembered',
    checksToken: true,
    prepare: installPeers,
    start: (ground, dir) => nodePeer(ground, dir, 'express.mjs', true),
  },
  fastify: {
    policies: 'token (jose), limit per address in memory, access log (pino); no metrics; one process of Node',
    checksToken: true,
    prepare: installPeers,
    start: (ground, dir) => nodePeer(ground, dir, 'fastify.mjs', false),
  },
  'fastify-cached': {
    policies: 'the same, and tokens that were checked are remembered',
    checksToken: true,
    prepare: installPeers,
    start: (ground, dir) => nodePeer(ground, dir, 'fastify.mjs', true),
  },

  traefik: {
    policies: 'limit per address in memory, access log; its open-source edition checks no tokens; all cores',
    checksToken: false,
    prepare: buildTraefik,
    start: traefikPeer,
  },
} satisfies Record<string, Peer>;

export type PeerName = keyof typeof PEERS;
export const PEER_NAMES = Object.keys(PEERS) as PeerName[];
export const peerOf = (name: PeerName): Peer => PEERS[name];

async function nginxPeer({ upstreams }: Ground, dir: string, withPolicies: boolean): Promise<RunningPeer> {
  const [port] = (await freePorts(1)) as [number];
  const accessLog = join(dir, 'access.log');
  const http = proxyBlocks({
    port,
    routes: upstreams.routes,
    policies: withPolicies
      ? `limit_req_zone $binary_remote_addr zone=clients:10m rate=1000000r/s;
         access_log ${accessLog} combined buffer=64k flush=1s;`
      : 'access_log off;',
    location: withPolicies ? 'limit_req zone=clients burst=1000000 nodelay;' : '',
  });
  return { programs: [startNginx(dir, http)], port, accessLog: withPolicies ? accessLog : undefined };
}

/** The gateway as `npm run cluster` starts it: its own entry, told by its environment, its log in a file. */
async function lyceumPeer(
  { upstreams, redisUrl }: Ground,
  dir: string,
  processes: number,
): Promise<RunningPeer> {
  const [port, ...internalPorts] = (await freePorts(1 + processes)) as [number, ...number[]];
  const accessLog = join(dir, 'gateway.log');
  const address = (upstream: number): string => `http://127.0.0.1:${upstream}`;
  const serves: Record<string, number> = {
    content: upstreams.bodies,
    analytics: upstreams.bodies,
    chat: upstreams.sockets,
  };
  const programs = internalPorts.map((internalPort) =>
    start({
      file: process.execPath,
      args: [join(ROOT, 'gateway', 'main.ts')],
      env: {
        NODE_ENV: 'production',
        HOST: '127.0.0.1',
        PORT: String(port),
        INTERNAL_PORT: String(internalPort),
        PUBLIC_URL: `http://127.0.0.1:${port}`,
        AUTH_URL: address(upstreams.replies),
        REDIS_URL: redisUrl,
        LYCEUM_LIMIT_SCALE: '1000000',
        ...Object.fromEntries(
          SERVICES.map((name) => [
            `UPSTREAM_${name.toUpperCase()}`,
            address(serves[name] ?? upstreams.replies),
          ]),
        ),
      },
      log: accessLog,
    }),
  );
  try {
    for (const internalPort of internalPorts) {
      const ready = waitFor('the gateway', () => answers200(`${address(internalPort)}/readyz`), READY_MS);
      await whileRunning(programs, ready);
    }
  } catch (error) {
    throw new Error(`${String(error)}\n${tailOf(accessLog)}`);
  }
  return { programs, port, accessLog };
}

async function nodePeer(
  { upstreams }: Ground,
  dir: string,
  script: string,
  cached: boolean,
): Promise<RunningPeer> {
  const [port] = (await freePorts(1)) as [number];
  const accessLog = join(dir, 'access.log');
  const program = start({
    file: 'node',
    args: [join(PEERS_DIR, script)],
    env: {
      NODE_ENV: 'production',
      PORT: String(port),
      ROUTES: JSON.stringify(upstreams.routes),
      ACCESS_LOG: accessLog,
      JWKS_URL: `http://127.0.0.1:${upstreams.replies}/.well-known/jwks.json`,
      ISSUER,
      AUDIENCE,
      TOKEN_CACHE: cached ? 'on' : 'off',
    },
    log: join(dir, 'out.log'),
  });
  return { programs: [program], port, accessLog };
}

async function traefikPeer({ upstreams }: Ground, dir: string): Promise<RunningPeer> {
  const [port] = (await freePorts(1)) as [number];
  mkdirSync(dir, { recursive: true });
  const files = { main: join(dir, 'traefik.yml'), dynamic: join(dir, 'dynamic.yml') };
  const accessLog = join(dir, 'access.log');
  const config = traefikConfig({ port, dynamicFile: files.dynamic, accessLog, routes: upstreams.routes });
  writeFileSync(files.main, config.main);
  writeFileSync(files.dynamic, config.dynamic);
  const program = start({
    file: traefikPath,
    args: [`--configFile=${files.main}`],
    log: join(dir, 'out.log'),
  });
  return { programs: [program], port, accessLog };
}

/** Packages of the Node peers: pinned in a folder of their own, since the project itself has no use for them. */
async function installPeers(): Promise<void> {
  const stamp = join(PEERS_DIR, 'node_modules', '.lyceum-lock');
  const lock = readFileSync(join(PEERS_DIR, 'bun.lock'), 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  console.log('installing the packages of Express and Fastify');
  await runToEnd(
    { file: process.execPath, args: ['install', '--frozen-lockfile', '--cwd', PEERS_DIR], inherit: true },
    180_000,
  );
  writeFileSync(stamp, lock);
}

async function answers200(url: string): Promise<void> {
  const response = await fetch(url, { signal: AbortSignal.timeout(3_000) });
  const body = await response.text();
  if (response.status !== 200) throw new Error(`${response.status} ${body.slice(0, 300)}`);
}

export const tailOf = (log: string): string =>
  existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n').slice(-15).join('\n') : '(no log)';
