// Runs a script of this project on the Bun version that package.json pins: `node deploy/with-bun.mjs <script> [args…]`.
// It starts from nothing (a fresh clone, Node and npm): it fetches Bun by npm, installs the locked dependencies,
// and costs a few milliseconds when both are already there. Plain Node, because it runs before anything is installed.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, extname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tools = join(root, '.tools');
const lock = join(tools, 'lock');
const stamp = join(root, 'node_modules', '.lyceum-installed.json');

const [script, ...args] = process.argv.slice(2);
if (script === undefined) fail('usage: node deploy/with-bun.mjs <script> [args…]');

const bun = installed() ?? (await installOnce());
// A tool's command without an extension (Biome's) is a Node script by its first line.
const command = extname(script) === '' ? process.execPath : bun;
run(command, [resolve(root, script), ...args]);

/** The Bun to use, when the last installation is of exactly these manifests; else undefined. */
function installed() {
  try {
    const last = JSON.parse(readFileSync(stamp, 'utf8'));
    const path = join(root, last.bun);
    return last.manifests === manifestsHash() && existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

/** Two starts at once, of a fresh clone, install one after the other: the second finds the work done. */
async function installOnce() {
  await takeLock();
  try {
    return installed() ?? install();
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

function install() {
  const version = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).devDependencies.bun;
  const installer = findBun(version) ?? fetchBun(version);
  const manifests = manifestsHash();
  say('installing the dependencies');
  const result = spawnSync(join(root, installer), ['install', '--frozen-lockfile'], {
    cwd: root,
    encoding: 'utf8',
  });
  if (result.status !== 0) {
    fail(
      `bun install failed:\n${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}\n` +
        'It needs the npm registry (or a mirror set in .npmrc). If you changed package.json, run `bun install` once, so that bun.lock follows.',
    );
  }
  const path = findBun(version) ?? installer;
  const temporary = `${stamp}.${process.pid}`;
  writeFileSync(temporary, JSON.stringify({ manifests, bun: path }));
  renameSync(temporary, stamp);
  return join(root, path);
}

/** The relative path of a Bun of this version that runs on this machine, if one is installed. */
function findBun(version) {
  const packages = platformPackages();
  const candidates = [
    // The install script of the package `bun` moves the platform's binary here, under this name everywhere.
    join('node_modules', 'bun', 'bin', 'bun.exe'),
    ...packages.map((name) => bunIn('node_modules', name)),
    ...packages.map((name) => bunIn(join('.tools', 'node_modules'), name)),
  ];
  return candidates.find((path) => existsSync(join(root, path)) && answers(path, version));
}

/**
 * Fetches Bun's own platform package. The package `bun` would do, but it needs an install script to put the binary
 * in place, which newer npm versions do not run, and it brings every variant for the platform.
 */
function fetchBun(version) {
  mkdirSync(tools, { recursive: true });
  let reason = '';
  for (const name of platformPackages()) {
    say(`fetching Bun ${version} (${name})`);
    // --force: npm would refuse a musl build by its "libc" field on systems whose libc it misjudges.
    const options = [
      '--prefix',
      tools,
      '--no-save',
      '--no-audit',
      '--no-fund',
      '--ignore-scripts',
      '--force',
    ];
    const result = npm(['install', ...options, '--loglevel=error', `${name}@${version}`]);
    if (result.error?.code === 'ENOENT') fail('npm was not found. Install Node.js 20 or newer with npm.');
    const path = bunIn(join('.tools', 'node_modules'), name);
    if (existsSync(join(root, path)) && answers(path, version)) return path;
    reason ||=
      `${result.stdout ?? ''}${result.stderr ?? ''}`.trim() || `${name} does not run on this machine`;
  }
  return fail(
    `Bun ${version} could not be fetched by npm for ${process.platform}-${process.arch}:\n${reason}`,
  );
}

/** npm as a child: through its own script when npm started us, so that no PATH look-up or Windows shell is needed. */
function npm(args) {
  const own = process.env.npm_execpath;
  if (own?.endsWith('npm-cli.js'))
    return spawnSync(process.execPath, [own, ...args], { cwd: root, encoding: 'utf8' });
  return spawnSync('npm', args, { cwd: root, encoding: 'utf8', shell: process.platform === 'win32' });
}

function answers(path, version) {
  const result = spawnSync(join(root, path), ['--version'], { encoding: 'utf8', timeout: 20_000 });
  return result.status === 0 && result.stdout.trim() === version;
}

function bunIn(folder, name) {
  return join(folder, name, 'bin', process.platform === 'win32' ? 'bun.exe' : 'bun');
}

/** Package names by preference: the libc of this Node first, and the build for CPUs without AVX2 after the usual one. */
function platformPackages() {
  const os = { win32: 'windows' }[process.platform] ?? process.platform;
  const arch = { arm64: 'aarch64' }[process.arch] ?? process.arch;
  const base = `@oven/bun-${os}-${arch}`;
  const variants = arch === 'x64' ? ['', '-baseline'] : [''];
  if (os !== 'linux') return variants.map((variant) => base + variant);
  const glibc = process.report?.getReport().header.glibcVersionRuntime !== undefined;
  const libcs = glibc ? ['', '-musl'] : ['-musl', ''];
  return libcs.flatMap((libc) => variants.map((variant) => base + libc + variant));
}

function manifestsHash() {
  const hash = createHash('sha256');
  for (const name of ['package.json', 'bun.lock']) hash.update(readFileSync(join(root, name)));
  return hash.digest('hex');
}

/** A directory as a lock, since making one is atomic everywhere. It is stale when its process is gone. */
async function takeLock() {
  mkdirSync(tools, { recursive: true });
  const owner = join(lock, 'pid');
  for (let told = false; ; ) {
    try {
      mkdirSync(lock);
      writeFileSync(owner, String(process.pid));
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') fail(`cannot write to ${tools}: ${error.message}`);
    }
    if (isStale(owner)) {
      const aside = `${lock}.${process.pid}`;
      try {
        renameSync(lock, aside);
        rmSync(aside, { recursive: true, force: true });
      } catch {
        // Another start was quicker.
      }
      continue;
    }
    if (!told) say('waiting for another start that is installing');
    told = true;
    await new Promise((done) => setTimeout(done, 100));
  }
}

function isStale(owner) {
  try {
    process.kill(Number(readFileSync(owner, 'utf8')), 0);
    return false;
  } catch (error) {
    if (error.code === 'ESRCH') return true;
    if (error.code === 'EPERM') return false;
    // No pid yet: its maker is between two lines, unless it died there.
    return existsSync(lock) && Date.now() - statSync(lock, { throwIfNoEntry: false })?.mtimeMs > 5_000;
  }
}

/** Runs to the end of the child: same terminal, signals passed on, its exit code ours. */
function run(command, args) {
  const env = { ...process.env, LYCEUM_PARENT_PID: String(process.pid) };
  const child = spawn(command, args, { cwd: root, stdio: 'inherit', env });
  // npm that was killed outright passes nothing on: without this, what it started would live on and hold the port.
  if (process.env.npm_lifecycle_event) {
    const parent = process.ppid;
    setInterval(() => {
      if (process.ppid === parent) return;
      child.kill('SIGKILL');
      process.exit(1);
    }, 200).unref();
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // Ctrl-C reaches the whole foreground group by itself, and a program may take a second one for impatience.
      if (signal === 'SIGINT' && process.stdin.isTTY) return;
      child.kill(signal);
    });
  }
  child.on('error', (error) => fail(`${command} could not be started: ${error.message}`));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}

function say(line) {
  process.stderr.write(`${line}\n`);
}

function fail(message) {
  // The lock, if held, goes stale with this process.
  say(message);
  process.exit(1);
}
