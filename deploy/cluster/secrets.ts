import { randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SERVICES, type ServiceName } from '../../shared/contracts/common.ts';

/** The services' database passwords: made once, kept beside the data, readable by their owner only. */
export async function databasePasswords(dir: string): Promise<Record<ServiceName, string>> {
  const path = join(dir, 'secrets.json');
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Record<ServiceName, string>;
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
  }
  const made = Object.fromEntries(
    SERVICES.map((name) => [name, randomBytes(24).toString('base64url')]),
  ) as Record<ServiceName, string>;
  await writeFile(`${path}.new`, `${JSON.stringify(made, null, 2)}\n`, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
  return made;
}
