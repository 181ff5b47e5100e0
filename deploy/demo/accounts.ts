import { randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface DemoAccount {
  email: string;
  password: string;
  role: 'teacher' | 'learner' | 'admin';
}

const FILE = 'demo-accounts.json';

/** The demo accounts of a data directory: random passwords, made at the first start, readable by their owner only. */
export async function demoAccounts(dataDir: string): Promise<DemoAccount[]> {
  const path = join(dataDir, FILE);
  try {
    return JSON.parse(await readFile(path, 'utf8')) as DemoAccount[];
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
  }
  const accounts = (['teacher', 'learner', 'admin'] as const).map((role) => ({
    email: `${role}@lyceum.example`,
    password: randomBytes(12).toString('base64url'),
    role,
  }));
  // Written whole or not at all: the passwords are in the database from the next step on.
  await writeFile(`${path}.new`, `${JSON.stringify(accounts, null, 2)}\n`, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
  return accounts;
}
