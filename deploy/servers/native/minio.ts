import { chmodSync, copyFileSync, existsSync, readdirSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { withLock } from '../lock.ts';
import { run } from '../process.ts';

/** The last commit of MinIO's archived community repository. No binaries or images of it are published any more. */
export const MINIO_VERSION = 'v0.0.0-20260212201848-7aac2a2c5b7c';
const MINIO_MODULE = `github.com/minio/minio@${MINIO_VERSION}`;
/** Its go.mod asks for Go 1.24; used only where the installed Go cannot fetch the right one itself. */
const GO_VERSION = '1.24.6';

/** Where the built program is or will be: per user and version, so that several clones build it once. */
export function minioPath(cache: string): string {
  return join(cache, 'bin', `minio-${MINIO_VERSION}`);
}

/** Builds MinIO with the `go` of this machine, through the Go module proxy. Minutes the first time, then nothing. */
export async function buildMinio(cache: string, log: (line: string) => void): Promise<void> {
  const path = minioPath(cache);
  if (existsSync(path)) return;
  await withLock(
    `${path}.lock`,
    () => log('waiting for another build of MinIO'),
    async () => {
      if (existsSync(path)) return;
      log('building MinIO, once on this machine: this takes some minutes');
      const folder = `${path}.build`;
      const go = await capableGo(log);
      await mkdir(folder, { recursive: true });
      await run(
        {
          ...go,
          args: ['install', '-trimpath', '-ldflags=-s -w', MINIO_MODULE],
          env: { ...go.env, GOBIN: folder, CGO_ENABLED: '0' },
          cwd: folder, // outside any module
        },
        3_600_000,
      );
      await rename(join(folder, 'minio'), path);
      await rm(folder, { recursive: true, force: true });
    },
  );
}

/**
 * A Go that can build MinIO. From 1.21 on Go fetches the version that a module asks for. An older one
 * (Debian 12 has 1.19) can fetch it too, as the module golang.org/toolchain; what 1.21 would then do with it
 * (make the programs executable, give src its go.mod: cmd/go/internal/toolchain) is done here.
 */
async function capableGo(
  log: (line: string) => void,
): Promise<{ file: string; env: Record<string, string> }> {
  const version = await run({ file: 'go', args: ['env', 'GOVERSION'], env: { GOTOOLCHAIN: 'local' } });
  const minor = Number(/^go1\.(\d+)/.exec(version)?.[1] ?? 99);
  if (minor >= 21) return { file: 'go', env: { GOTOOLCHAIN: 'auto' } };

  log(`fetching Go ${GO_VERSION}, since ${version.trim()} is too old for MinIO`);
  const [os, arch] = (await run({ file: 'go', args: ['env', 'GOOS', 'GOARCH'] })).trim().split('\n');
  const module = `golang.org/toolchain@v0.0.1-go${GO_VERSION}.${os}-${arch}`;
  const download = {
    file: 'go',
    args: ['mod', 'download', '-json', module],
    env: { GOFLAGS: '-modcacherw' },
    cwd: '/',
  };
  const { Dir: goroot } = JSON.parse(await run(download)) as { Dir: string };
  const tools = join(goroot, 'pkg', 'tool', `${os}_${arch}`);
  for (const folder of [join(goroot, 'bin'), tools]) {
    for (const name of readdirSync(folder)) chmodSync(join(folder, name), 0o755);
  }
  const goMod = join(goroot, 'src', 'go.mod');
  if (!existsSync(goMod)) copyFileSync(join(goroot, 'src', '_go.mod'), goMod);
  return { file: join(goroot, 'bin', 'go'), env: { GOTOOLCHAIN: 'local', GOROOT: goroot } };
}
