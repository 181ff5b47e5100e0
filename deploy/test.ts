import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { installPackages, missing } from './servers/native/debian.ts';
import { up } from './servers/servers.ts';

/**
 * `npm test`: brings up the real servers, runs every test in groups, and ends with `N passed, N failed, N skipped`.
 * Arguments name groups or are handed to the test runner as path filters: `npm test -- unit`, `npm test -- gateway/`.
 */

const ROOT = join(import.meta.dir, '..');

interface Group {
  name: string;
  paths: string[];
}

const GROUPS: Group[] = [
  { name: 'unit', paths: ['./shared', './services', './gateway', './deploy'] },
  { name: 'gateway', paths: ['./tests/gateway'] },
  { name: 'security', paths: ['./tests/architecture.test.ts', './tests/security'] },
  { name: 'journeys', paths: ['./tests/journeys'] },
  { name: 'failure', paths: ['./tests/failure'] },
];

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

async function main(): Promise<void> {
  const wanted = process.argv.slice(2);
  const groups = wanted.length === 0 ? GROUPS : GROUPS.filter((group) => wanted.includes(group.name));
  const paths = wanted.filter((word) => !GROUPS.some((group) => group.name === word));
  if (paths.length > 0) groups.push({ name: 'chosen', paths });

  const serversDir = resolve(ROOT, '.data', 'servers');
  console.log('Bringing up the real servers (the first time installs them)');
  await up({ dir: serversDir, log: (line) => console.log(`  ${line}`) });

  await installPrograms();

  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const group of groups) {
    const started = performance.now();
    const counts = await run(group, { LYCEUM_SERVERS: join(serversDir, 'servers.json') });
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
    const seconds = Math.round((performance.now() - started) / 1000);
    console.log(
      `\n${group.name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped in ${seconds} s\n`,
    );
  }
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
}

/**
 * Debian's Chromium for the tests in a browser, nginx for those that compare the gateway with it, promtool for those of
 * the alerts. They skip themselves where it can't be had (but not in CI).
 */
async function installPrograms(): Promise<void> {
  const lacking = await missing(['chromium', 'nginx', 'promtool']);
  if (lacking.length === 0) return;
  await installPackages(lacking, (line) => console.log(`  ${line}`)).catch((error) =>
    console.log(`  ${error.message}`),
  );
}

/** Runs the group's files one after the other; a runner that dies counts as a failure. */
async function run(group: Group, env: Record<string, string>): Promise<Counts> {
  const paths = group.paths.filter((path) => existsSync(join(ROOT, path)));
  console.log(`\n── ${group.name} ──`);
  const child = spawn(process.execPath, ['test', '--timeout', '60000', ...paths], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  let report = '';
  child.stderr.on('data', (chunk: Buffer) => {
    process.stderr.write(chunk);
    report = (report + chunk.toString()).slice(-20_000);
  });
  const code = await new Promise<number | null>((done) => child.once('close', done));
  const count = (word: string): number =>
    Number(report.match(new RegExp(`^\\s*(\\d+) ${word}$`, 'm'))?.[1] ?? 0);
  const counts = { passed: count('pass'), failed: count('fail'), skipped: count('skip') + count('todo') };
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

await main();
