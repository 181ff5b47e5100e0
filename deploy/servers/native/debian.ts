import { existsSync, readdirSync } from 'node:fs';
import { has, run } from '../process.ts';

/** The programs of the servers that come as Debian packages. */
export type DebianServer = 'postgres' | 'redis' | 'rabbitmq';

const PACKAGES = {
  postgres: 'postgresql',
  redis: 'redis-server',
  rabbitmq: 'rabbitmq-server',
  go: 'golang-go',
  chromium: 'chromium',
  nginx: 'nginx',
  promtool: 'prometheus',
  wrk: 'wrk',
};
/** Servers, and what building, testing and measuring needs beside them. */
export type DebianProgram = keyof typeof PACKAGES;

/** The folder of PostgreSQL's own programs: the newest of Debian's versions, else wherever `initdb` is. */
export async function postgresPrograms(): Promise<string | undefined> {
  const base = '/usr/lib/postgresql';
  const versions = existsSync(base) ? readdirSync(base).map(Number).filter(Number.isFinite) : [];
  const newest = versions
    .sort((a, b) => b - a)
    .find((version) => existsSync(`${base}/${version}/bin/postgres`));
  if (newest !== undefined) return `${base}/${newest}/bin`;
  if (!(await has('initdb')) || !(await has('postgres'))) return undefined;
  const initdb = await run({ file: 'sh', args: ['-c', 'readlink -f "$(command -v initdb)"'] });
  return initdb.trim().replace(/\/initdb$/, '');
}

/**
 * RabbitMQ's start script. Not Debian's `rabbitmq-server` on the PATH, which changes to another account and to
 * the machine's own settings.
 */
export async function rabbitmqProgram(): Promise<string | undefined> {
  const packaged = '/usr/lib/rabbitmq/bin/rabbitmq-server';
  if (existsSync(packaged)) return packaged;
  return (await has('rabbitmq-server')) ? 'rabbitmq-server' : undefined;
}

/** Those of the wanted programs that this machine lacks. */
export async function missing(wanted: readonly DebianProgram[]): Promise<DebianProgram[]> {
  const present: Record<DebianProgram, () => Promise<boolean>> = {
    postgres: async () => (await postgresPrograms()) !== undefined,
    redis: () => has('redis-server'),
    rabbitmq: async () => (await rabbitmqProgram()) !== undefined,
    go: () => has('go'),
    chromium: () => has('chromium'),
    nginx: () => has('nginx'),
    promtool: () => has('promtool'),
    wrk: () => has('wrk'),
  };
  const found = await Promise.all(wanted.map((name) => present[name]()));
  return wanted.filter((_, index) => !found[index]);
}

/**
 * Installs Debian packages and keeps the services in them from starting, now and at the next boot.
 * Rejects, naming the packages, where that cannot be done.
 */
export async function installPackages(
  names: readonly DebianProgram[],
  log: (line: string) => void,
): Promise<void> {
  const packages = names.map((name) => PACKAGES[name]);
  if (process.getuid?.() !== 0 || !(await has('apt-get'))) {
    throw new Error(
      `Missing on this machine: ${packages.join(', ')}. Start a Docker daemon, or install them (on Debian or Ubuntu: ` +
        `sudo apt-get install ${packages.join(' ')}; as root this command does it itself).`,
    );
  }
  log(`installing ${packages.join(', ')}`);
  await run({
    file: 'sh',
    args: ['-c', INSTALL, 'install', ...packages],
    env: { DEBIAN_FRONTEND: 'noninteractive' },
  });
}

/**
 * A package's service starts when it is installed unless /usr/sbin/policy-rc.d answers 101 (Debian policy 9.3.3).
 * One that already refuses is left alone; any other is put aside and put back, also when this is interrupted.
 */
const INSTALL = `
set -eu
policy=/usr/sbin/policy-rc.d
saved=$policy.lyceum-saved
restore() { if [ -e "$saved" ]; then mv -f "$saved" "$policy"; elif grep -qs lyceum "$policy"; then rm -f "$policy"; fi; }
refuses() { [ -x "$policy" ] && { "$policy" redis-server start >/dev/null 2>&1; [ $? -eq 101 ]; }; }
if grep -qs lyceum "$policy" || ! refuses; then
  restore
  if [ -e "$policy" ]; then mv "$policy" "$saved"; fi
  trap restore EXIT
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\\n# lyceum: no service starts while its package is being installed\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
get="apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 -o DPkg::Options::=--force-unsafe-io -q"
$get install -y --no-install-recommends "$@" || { $get update && $get install -y --no-install-recommends "$@"; }
if [ -d /run/systemd/system ]; then
  for package in "$@"; do
    case $package in postgresql|redis-server|rabbitmq-server|nginx|prometheus) systemctl disable "$package" >/dev/null 2>&1 || true;; esac
  done
fi
`;
