import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Held by this very process: after a restart in a container the pid is often the same as before. */
const ours = new Set<string>();

/** How long a killed process may take to go, in milliseconds: its successor may start before. */
const DYING_MS = 2_000;

/**
 * Makes sure that one process at a time uses `dir`. Throws when another living process holds it. A lock whose
 * owner is gone (kill -9, power cut) is taken over; the start time tells a reused pid from the owner.
 * Returns how to let go.
 */
export async function lockDataDir(dir: string): Promise<() => void> {
  for (const deadline = Date.now() + DYING_MS; ; ) {
    try {
      return tryLock(dir);
    } catch (error) {
      if (!(error instanceof InUse) || error.forGood || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

class InUse extends Error {
  constructor(
    message: string,
    readonly forGood: boolean,
  ) {
    super(message);
  }
}

function tryLock(dir: string): () => void {
  mkdirSync(dir, { recursive: true });
  const path = join(dir, 'lock');
  const mine = `${process.pid} ${startTime(process.pid)}`;
  const temporary = `${path}.${process.pid}`;
  for (let attempt = 0; ; attempt++) {
    const holder = read(path);
    if (holder !== undefined && (ours.has(path) || (holder !== mine && isAlive(holder)))) {
      const pid = holder.split(' ')[0];
      throw new InUse(
        `${dir} is in use by process ${pid}. Stop it first, or choose another data directory.`,
        ours.has(path),
      );
    }
    if (holder !== undefined) {
      // Renamed, then looked at again: a process that took it over a moment ago must not lose it.
      const stale = `${path}.stale.${process.pid}`;
      try {
        renameSync(path, stale);
        if (readFileSync(stale, 'utf8') !== holder) linkSync(stale, path);
        rmSync(stale, { force: true });
      } catch (error) {
        if (attempt > 10) throw error;
      }
    }
    writeFileSync(temporary, mine);
    try {
      linkSync(temporary, path); // atomic, and complete from the first moment
      break;
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST' || attempt > 10) throw error;
    } finally {
      rmSync(temporary, { force: true });
    }
  }
  ours.add(path);
  return () => {
    if (ours.delete(path)) rmSync(path, { force: true });
  };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function isAlive(holder: string): boolean {
  const [pid, started] = holder.split(' ');
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    // Not permitted: it lives, under another user.
    return (error as { code?: string }).code === 'EPERM';
  }
  return startTime(Number(pid)) === started;
}

/**
 * Field 22 of /proc/<pid>/stat (proc(5)); where there is no /proc, the pid alone has to do. A zombie has
 * started never: it holds no files any more, even if its parent has not asked for its exit code yet.
 */
function startTime(pid: number): string {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return '-';
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? 'ended' : (fields[19] ?? '-');
}
