import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Context } from '../backend.ts';
import type { Command } from '../process.ts';

/** Writes the configuration (it holds the password, which so is on no command line) and says how to start Redis. */
export async function prepareRedis({ dir, state }: Context): Promise<Command> {
  const folder = join(dir, 'redis');
  mkdirSync(join(folder, 'data'), { recursive: true });
  const configuration = join(folder, 'redis.conf');
  const lines = [
    'bind 127.0.0.1',
    `port ${state.ports.redis}`,
    `requirepass ${state.secrets.redis}`,
    `dir "${join(folder, 'data')}"`,
    'daemonize no',
    'appendonly yes',
    'save ""',
    'maxmemory-policy noeviction',
  ];
  writeFileSync(configuration, `${lines.join('\n')}\n`, { mode: 0o600 });
  return { file: 'redis-server', args: [configuration], cwd: folder };
}
