import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, type Started, started } from './process.ts';

/**
 * Runs `work` while holding a lock file, so that two commands on one thing follow each other.
 * A lock whose process is gone counts for nothing.
 * @param waiting called once if another holds the lock
 */
export async function withLock<T>(path: string, waiting: () => void, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const own = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await writeFile(own, JSON.stringify(started(process.pid)));
  try {
    for (let told = false; !(await take(own, path)); await sleep(50)) {
      const holder = await read(path);
      if (holder && !isAlive(holder)) await rename(path, `${own}.stale`).catch(() => {});
      else if (!told) {
        told = true;
        waiting();
      }
    }
    try {
      return await work();
    } finally {
      await rm(path, { force: true });
    }
  } finally {
    await rm(own, { force: true });
    await rm(`${own}.stale`, { force: true });
  }
}

/** A hard link is made in one step and has its content from the start, so a lock is never seen half written. */
async function take(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function read(path: string): Promise<Started | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Started;
  } catch {
    return undefined; // released meanwhile
  }
}
