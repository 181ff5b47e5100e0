import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The lock file must work with any registry mirror, so it must not name one. */
const lock = readFileSync(join(import.meta.dir, '..', 'bun.lock'), 'utf8');
const addresses = lock.match(/https?:\/\/[^"\s]+/g) ?? [];
if (addresses.length > 0) {
  console.error(`bun.lock names addresses: ${[...new Set(addresses)].slice(0, 5).join(', ')}`);
  process.exit(1);
}
