import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { WorkerPool } from '../runtime/worker-pool.ts';
import type { BcryptInput } from './bcrypt-worker.ts';

/** 2^10 rounds: 54 ms a hash where it was measured. OWASP's Password Storage Cheat Sheet asks for at least 10. */
const COST = 10;

const pool = new WorkerPool<BcryptInput, string | boolean>(
  new URL('./bcrypt-worker.ts', import.meta.url),
  Math.max(1, Math.min(4, availableParallelism())),
);

/** bcrypt reads 72 bytes and stops at NUL: a digest first, so that every character of a long passphrase counts. */
const digest = (password: string): string =>
  createHash('sha384').update(password.normalize('NFKC'), 'utf8').digest('base64');

/** A `$2b$` hash, computed on a worker. */
export async function hashPassword(password: string): Promise<string> {
  return (await pool.run({ hash: digest(password), cost: COST })) as string;
}

/** Whether the password belongs to the hash, computed on a worker. */
export async function verifyPassword(password: string, hash: string): Promise<boolean> {
  return (await pool.run({ compare: digest(password), with: hash })) as boolean;
}

/** A hash that nothing matches: compared with when there is no such account, so that the answer takes as long. */
export const NOBODYS_HASH = '$2b$10$C6UzMDM.H6dfI/f/IKcEeO7ZbU2tGJvgQ8Dh8c7UGgqkTzXV0mYvW';

export const stopPasswordWorkers = (): void => pool.stop();

let common: Promise<Set<string>> | undefined;

/** Loaded at the first need: it is megabytes of words, and most processes never ask. */
async function loadCommon(): Promise<Set<string>> {
  const { dictionary } = await import('@zxcvbn-ts/language-common');
  return new Set(dictionary['passwords-common'].filter((known) => known.length >= 10));
}

/** One or two characters again and again are guessed first, up to a length that nobody repeats by hand. */
const REPEATED_UP_TO = 20;

/** True for passwords that lists of leaked ones have near the top (those of 10 characters and more, in lower case). */
export async function isCommonPassword(password: string): Promise<boolean> {
  common ??= loadCommon();
  const lower = password.toLowerCase();
  return (await common).has(lower) || (lower.length <= REPEATED_UP_TO && new Set(lower).size < 3);
}
