import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

/** A file of our own that never changes while we run. */
export interface Asset {
  type: string;
  etag: string;
  plain: Uint8Array;
  /** Absent where it would not pay. */
  gzip: Uint8Array | undefined;
}

const WEB = join(dirname(dirname(fileURLToPath(import.meta.url))), 'web');
const swaggerUi = (): string =>
  dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));

const TYPES: Record<string, string> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/** What is served under which path; nothing else of these folders is. */
const FILES = (swagger: string): Record<string, string> => ({
  '/': join(WEB, 'index.html'),
  '/style.css': join(WEB, 'style.css'),
  '/favicon.svg': join(WEB, 'favicon.svg'),
  '/verify-email': join(WEB, 'verify-email.html'),
  '/reset-password': join(WEB, 'reset-password.html'),
  '/account.css': join(WEB, 'account.css'),
  '/account.js': join(WEB, 'account.js'),
  '/docs': join(WEB, 'docs.html'),
  '/docs/': join(WEB, 'docs.html'),
  '/docs/docs.css': join(WEB, 'docs.css'),
  '/docs/docs.js': join(WEB, 'docs.js'),
  '/docs/swagger-ui.css': join(swagger, 'swagger-ui.css'),
  '/docs/swagger-ui-bundle.js': join(swagger, 'swagger-ui-bundle.js'),
});

/** Marks what only stands on the landing page when development mail is on. */
const DEV_MAIL = /<!-- dev-mail -->[\s\S]*?<!-- \/dev-mail -->\n?/g;

/** Reads the pages into memory, by path. Rejects when a file is missing: better at the start than at the first visit. */
export async function loadAssets(options: { devMail: boolean }): Promise<ReadonlyMap<string, Asset>> {
  const entries = await Promise.all(
    Object.entries(FILES(swaggerUi())).map(async ([path, file]): Promise<[string, Asset]> => {
      let plain: Uint8Array = await readFile(file);
      if (path === '/' && !options.devMail)
        plain = Buffer.from(Buffer.from(plain).toString('utf8').replace(DEV_MAIL, ''));
      return [
        path,
        {
          type: TYPES[file.slice(file.lastIndexOf('.') + 1)] ?? 'application/octet-stream',
          etag: `"${createHash('sha256').update(plain).digest('base64url').slice(0, 27)}"`,
          plain,
          gzip: plain.byteLength > 1_400 ? gzipSync(plain) : undefined,
        },
      ];
    }),
  );
  return new Map(entries);
}
