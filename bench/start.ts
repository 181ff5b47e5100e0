import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../deploy/ports.ts';
import { SERVICES } from '../shared/contracts/common.ts';
import { median, printTable } from './table.ts';

const ROOT = join(import.meta.dir, '..');
const STARTS = 5;

/** Seconds from `npm start` to `ready`, the first time and after; memory when idle; how much code there is. */
export async function run(): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'lyceum-bench-'));
  const first = await startOnce(dataDir);
  const later: { seconds: number; rss: number; pss: number }[] = [];
  for (let index = 0; index < STARTS; index++) later.push(await startOnce(dataDir));
  await rm(dataDir, { recursive: true, force: true });

  printTable(
    ['npm start', 'value', 'goal'],
    [
      ['first start, with the demo school, s', first.seconds.toFixed(2), ''],
      [`second start, median of ${STARTS}, s`, median(later.map((run) => run.seconds)).toFixed(2), '< 2'],
      ['slowest, s', Math.max(...later.map((run) => run.seconds)).toFixed(2), ''],
      ['idle memory (resident), MB', Math.round(median(later.map((run) => run.rss))), '< 400'],
      ['idle memory (proportional), MB', Math.round(median(later.map((run) => run.pss))), ''],
    ],
  );
  console.log('');
  const parts = [
    ...SERVICES.map((name) => [name, join(ROOT, 'services', name)]),
    ['gateway', join(ROOT, 'gateway')],
    ['shared', join(ROOT, 'shared')],
  ] as const;
  printTable(
    ['code', 'files', 'lines', 'test files', 'test lines'],
    parts.map(([name, path]) => {
      const { files, lines, testFiles, testLines } = countCode(path);
      return [name, files, lines, testFiles, testLines];
    }),
  );
}

/** As a user starts it, with npm. Memory is read after 10 s of rest. */
async function startOnce(dataDir: string): Promise<{ seconds: number; rss: number; pss: number }> {
  const [port, internalPort] = (await freePorts(2)) as [number, number];
  const started = performance.now();
  const child = spawn('npm', ['start', '--silent'], {
    cwd: ROOT,
    env: { ...process.env, DATA_DIR: dataDir, PORT: String(port), INTERNAL_PORT: String(internalPort) },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  await new Promise<void>((resolve, reject) => {
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk;
      if (/^ready /m.test(output)) resolve();
    });
    child.once('exit', (code) => reject(new Error(`npm start ended with ${code}`)));
  });
  const seconds = (performance.now() - started) / 1000;
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  const memory = memoryOf(child);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  process.kill(-child.pid!, 'SIGTERM');
  await ended;
  return { seconds, ...memory };
}

/** Of the process group's largest member, which is the platform (Linux). */
function memoryOf(child: ChildProcess): { rss: number; pss: number } {
  let best = { rss: 0, pss: 0 };
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const group = Number(
        readFileSync(`/proc/${entry}/stat`, 'utf8')
          .replace(/^.*\) /s, '')
          .split(' ')[2],
      );
      if (group !== child.pid) continue;
      const rollup = readFileSync(`/proc/${entry}/smaps_rollup`, 'utf8');
      const read = (field: string) =>
        Number(rollup.match(new RegExp(`^${field}:\\s+(\\d+)`, 'm'))?.[1] ?? 0) / 1024;
      if (read('Rss') > best.rss) best = { rss: read('Rss'), pss: read('Pss') };
    } catch {
      // Gone meanwhile.
    }
  }
  return best;
}

function countCode(path: string): { files: number; lines: number; testFiles: number; testLines: number } {
  const total = { files: 0, lines: 0, testFiles: 0, testLines: 0 };
  for (const name of readdirSync(path, { recursive: true }) as string[]) {
    if (!name.endsWith('.ts') || !statSync(join(path, name)).isFile()) continue;
    const lines = readFileSync(join(path, name), 'utf8').split('\n').length;
    if (name.endsWith('.test.ts')) {
      total.testFiles++;
      total.testLines += lines;
    } else {
      total.files++;
      total.lines += lines;
    }
  }
  return total;
}
