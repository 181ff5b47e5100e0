import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startNginx } from './nginx.ts';
import { freePorts } from './ports.ts';
import { firstLine, type Program, start } from './programs.ts';

/** What every peer proxies to. Written to be no bottleneck: nginx for replies, Go for bodies, Bun for sockets. */

/** Paths are Lyceum's own, so that its gateway runs with the routes that it ships with. */
export const PATHS = {
  small: '/api/profiles/me',
  large: '/api/profiles/large',
  post: '/api/analytics/events/batch',
  down: '/api/content/files/bench/content',
  up: '/api/content/files',
  relay: '/socket.io/?EIO=4&transport=websocket',
} as const;

export const STREAM_BYTES = 1024 ** 3;
export const POST_BYTES = 10 * 1024;

export const SMALL_REPLY = JSON.stringify({
  userId: '01890000-0000-7000-8000-000000000001',
  displayName: 'Ada Lovelace',
  bio: 'Mathematics and poetry.',
  locale: 'en-GB',
  timeZone: 'Europe/London',
  links: [],
  privacy: { profile: 'school', bio: 'school' },
  avatar: null,
  createdAt: '2026-01-10T10:00:00.000Z',
});

/** No text, and its bytes tell of a mix-up. */
export const LARGE_REPLY = Buffer.from(Array.from({ length: 100 * 1024 }, (_, index) => (index * 31) % 251));

export interface Upstreams {
  programs: Program[];
  /** Ports by what they serve. */
  replies: number;
  bodies: number;
  sockets: number;
  /** Every route that the peers are asked for. A prefix goes without the slash at its end. */
  routes: readonly { prefix: string; upstream: number }[];
}

export async function startUpstreams(dir: string, load: string, jwks: string): Promise<Upstreams> {
  mkdirSync(dir, { recursive: true });
  const [replies] = (await freePorts(1)) as [number];
  writeFileSync(join(dir, 'large.bin'), LARGE_REPLY);
  writeFileSync(join(dir, 'jwks.json'), jwks);
  const nginx = startNginx(
    dir,
    `
      access_log off;
      etag off;
      open_file_cache max=16;
      default_type application/json;
      server {
        listen 127.0.0.1:${replies} backlog=4096;
        location = ${PATHS.small} { return 200 '${SMALL_REPLY}'; }
        location = ${PATHS.large} { default_type application/octet-stream; alias ${join(dir, 'large.bin')}; }
        location = /.well-known/jwks.json { alias ${join(dir, 'jwks.json')}; }
        location = /readyz { return 200 '{}'; }
        location = /healthz { return 200 '{}'; }
        location / { return 404 '{}'; }
      }`,
  );
  const sink = start({ file: load, args: ['sink', '-size', String(STREAM_BYTES)] });
  const hub = start({ file: process.execPath, args: [join(import.meta.dir, 'socket-upstream.ts')] });
  const [bodies, sockets] = await Promise.all([sink, hub].map(async (each) => Number(await firstLine(each))));
  if (!bodies || !sockets) throw new Error('An upstream did not say its port.');
  return {
    programs: [nginx, sink, hub],
    replies,
    bodies,
    sockets,
    routes: [
      { prefix: '/api/profiles', upstream: replies },
      { prefix: '/api/analytics', upstream: bodies },
      { prefix: '/api/content', upstream: bodies },
      { prefix: '/socket.io', upstream: sockets },
    ],
  };
}
