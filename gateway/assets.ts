import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VERSION } from '../shared/platform/version.ts';
import { type Coding, compressOnce } from './policy/content-coding.ts';

/** A file of our own that never changes while we run. */
export interface Asset {
  type: string;
  etag: string;
  plain: Uint8Array;
  /** Made at the first need, which keeps a large script out of the start; undefined where it would not pay. */
  compressed(coding: Coding): Promise<Uint8Array> | undefined;
}

/** Something of our own to be served. The tag is that of its bytes. */
export function makeAsset(type: string, plain: Uint8Array): Asset {
  const forms = new Map<Coding, Promise<Uint8Array>>();
  return {
    type,
    etag: `"${createHash('sha256').update(plain).digest('base64url').slice(0, 27)}"`,
    plain,
    compressed(coding) {
      if (plain.byteLength < LEAST_COMPRESSED_BYTES) return undefined;
      const form = forms.get(coding) ?? compressOnce(coding, plain);
      forms.set(coding, form);
      return form;
    },
  };
}

/** What is smaller fits in one packet as it is. */
const LEAST_COMPRESSED_BYTES = 1_400;

const WEB = join(dirname(dirname(fileURLToPath(import.meta.url))), 'web');
const packageFolder = (name: string): string =>
  dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));

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

/** For who measures the pages: only where a collector is configured. */
const FARO_FILES = (faro: string): Record<string, string> => ({
  '/telemetry/faro-web-sdk.js': join(faro, 'dist', 'bundle', 'faro-web-sdk.iife.js'),
  '/telemetry/telemetry.js': join(WEB, 'telemetry.js'),
});
/** Not the pages that mails lead to: their address holds a secret, and Faro reports addresses. */
const MEASURED_PAGES = new Set(['/', '/docs', '/docs/']);

/** Marks what only stands on the landing page when development mail is on. */
const DEV_MAIL = /<!-- dev-mail -->[\s\S]*?<!-- \/dev-mail -->\n?/g;

/** Reads the pages into memory, by path. Rejects when a file is missing: better at the start than at the first visit. */
export async function loadAssets(options: {
  devMail: boolean;
  faroUrl: string | undefined;
}): Promise<ReadonlyMap<string, Asset>> {
  const files = {
    ...FILES(packageFolder('swagger-ui-dist')),
    ...(options.faroUrl ? FARO_FILES(packageFolder('@grafana/faro-web-sdk')) : {}),
  };
  const entries = await Promise.all(
    Object.entries(files).map(async ([path, file]): Promise<[string, Asset]> => {
      const plain = prepare(path, await readFile(file), options);
      const type = TYPES[file.slice(file.lastIndexOf('.') + 1)] ?? 'application/octet-stream';
      return [path, makeAsset(type, plain)];
    }),
  );
  return new Map(entries);
}

/** A page of `web/` that is filled in for each reply. */
export const readPage = (name: string): Promise<string> => readFile(join(WEB, name), 'utf8');

/** A page as this installation shows it. */
function prepare(
  path: string,
  file: Uint8Array,
  options: { devMail: boolean; faroUrl: string | undefined },
): Uint8Array {
  if (!MEASURED_PAGES.has(path)) return file;
  let page = Buffer.from(file).toString('utf8');
  if (!options.devMail) page = page.replace(DEV_MAIL, '');
  if (options.faroUrl) page = page.replace('</head>', `${faroTags(options.faroUrl)}</head>`);
  return Buffer.from(page);
}

/** The address is configuration that was parsed as a URL, so it has no quotes in it. */
const faroTags = (url: string): string =>
  `<meta name="faro" content="${new URL(url).href}" data-version="${VERSION}">
  <script src="/telemetry/faro-web-sdk.js" defer></script>
  <script src="/telemetry/telemetry.js" defer></script>
`;
