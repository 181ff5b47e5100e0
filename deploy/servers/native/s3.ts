import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Context } from '../backend.ts';
import type { Command } from '../process.ts';
import { minioPath } from './minio.ts';

/** How to start MinIO as the S3 server: one drive, no web console, nothing read from the home folder. */
export async function prepareS3({ dir, state, cache }: Context): Promise<Command> {
  const folder = join(dir, 's3');
  const data = join(folder, 'data');
  mkdirSync(data, { recursive: true });
  const address = `127.0.0.1:${state.ports.s3}`;
  return {
    file: minioPath(cache),
    args: ['server', '--address', address, '--certs-dir', join(folder, 'certs'), data],
    cwd: folder,
    env: {
      MINIO_ROOT_USER: 'lyceum',
      MINIO_ROOT_PASSWORD: state.secrets.s3,
      MINIO_BROWSER: 'off',
      MINIO_UPDATE: 'off',
    },
  };
}
