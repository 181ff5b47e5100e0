import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The lock files must work with any registry mirror, so they must not name one. */
const LOCKS = ['bun.lock', 'bench/gateway/peers/bun.lock'];

for (const name of LOCKS) {
  const lock = readFileSync(join(import.meta.dir, '..', name), 'utf8');
  const addresses = lock.match(/https?:\/\/[^"\s]+/g) ?? [];
  if (addresses.length > 0) {
    console.error(`${name} names addresses: ${[...new Set(addresses)].slice(0, 5).join(', ')}`);
    process.exitCode = 1;
  }
}
