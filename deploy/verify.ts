import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** `npm run verify`: types, lint, format, architecture, deployment files. Stops at nothing, reports everything, fails if one failed. */

const ROOT = join(import.meta.dir, '..');
const bin = (name: string): string => join(ROOT, 'node_modules', '.bin', name);

const CHECKS: [name: string, command: string, args: string[]][] = [
  ['types', bin('tsc'), ['--noEmit', '-p', '.']],
  ['lint and format', bin('biome'), ['check', '--error-on-warnings', '.']],
  ['architecture', process.execPath, ['test', './tests/architecture.test.ts']],
  ['lock file without addresses', process.execPath, ['deploy/check-lock.ts']],
  ['deployment files', process.execPath, ['deploy/check-deployment.ts']],
];

const failed = CHECKS.filter(([name, command, args]) => {
  console.log(`── ${name}`);
  return spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' }).status !== 0;
});
console.log(
  failed.length === 0 ? 'All checks passed.' : `Failed: ${failed.map(([name]) => name).join(', ')}`,
);
process.exit(failed.length === 0 ? 0 : 1);
