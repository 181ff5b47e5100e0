import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Context } from '../backend.ts';
import { asUser, type Command, endLeftovers, run } from '../process.ts';
import { saveState } from '../state.ts';
import { postgresPrograms } from './debian.ts';

const ACCOUNT = 'postgres';

/** Prepares the data folder and says how to start PostgreSQL. It refuses to run as root, so root lends it an account. */
export async function preparePostgres(context: Context): Promise<Command> {
  const programs = await postgresPrograms();
  if (!programs) throw new Error('The programs of PostgreSQL (initdb, postgres) are missing.');
  const folder = await reachableFolder(context);
  const data = join(folder, 'data');
  const as = (command: Command): Command => (isRoot() ? asUser(ACCOUNT, command) : command);
  if (!existsSync(data)) await initialise(folder, data, programs, as, context);

  await endLeftovers(data);
  // The server that wrote it is known to be gone, and its pid may be anyone's by now.
  rmSync(join(data, 'postmaster.pid'), { force: true });
  const settings = {
    listen_addresses: '127.0.0.1',
    port: String(context.state.ports.postgres),
    unix_socket_directories: '',
    max_connections: '300',
    fsync: 'on',
    timezone: 'UTC',
    log_timezone: 'UTC',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  return as({ file: join(programs, 'postgres'), args: ['-D', data, ...args], cwd: folder });
}

async function initialise(
  folder: string,
  data: string,
  programs: string,
  as: (command: Command) => Command,
  { state }: Context,
): Promise<void> {
  const fresh = `${data}.new`; // gets its name when it is whole
  const password = join(folder, 'password');
  rmSync(fresh, { recursive: true, force: true });
  await writeFile(password, state.secrets.postgres, { mode: 0o600 });
  own(password);
  const args = ['-D', fresh, '--username=lyceum', '--auth=scram-sha-256', `--pwfile=${password}`];
  args.push('--encoding=UTF8', '--locale=C.UTF-8', '--no-instructions');
  await run(as({ file: join(programs, 'initdb'), args, cwd: folder }), 120_000);
  rmSync(password);
  await rename(fresh, data);
}

/** The folder in the set's own, unless the account cannot get there (a clone below a home of mode 0700). */
async function reachableFolder({ dir, state, log }: Context): Promise<string> {
  if (state.postgresFolder) return makeFolder(state.postgresFolder);
  const usual = makeFolder(join(dir, 'postgres'));
  if (!isRoot() || (await canReach(usual))) return usual;
  state.postgresFolder = `/var/tmp/lyceum-${state.id}/postgres`;
  await saveState(dir, state);
  log(`the account ${ACCOUNT} cannot reach ${usual}: its data is in ${state.postgresFolder}`);
  mkdirSync(`/var/tmp/lyceum-${state.id}`, { recursive: true });
  chmodSync(`/var/tmp/lyceum-${state.id}`, 0o755);
  return makeFolder(state.postgresFolder);
}

function makeFolder(folder: string): string {
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o700);
  own(folder);
  return folder;
}

async function canReach(folder: string): Promise<boolean> {
  try {
    await run(asUser(ACCOUNT, { file: 'test', args: ['-w', folder], cwd: '/' }), 10_000);
    return true;
  } catch {
    return false;
  }
}

function own(path: string): void {
  if (isRoot()) chownSync(path, ...account());
}

let ids: [uid: number, gid: number] | undefined;

function account(): [uid: number, gid: number] {
  if (ids) return ids;
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${ACCOUNT}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (uid === undefined || gid === undefined) throw new Error(`This machine has no account "${ACCOUNT}".`);
  ids = [Number(uid), Number(gid)];
  return ids;
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}
