import { existsSync } from 'node:fs';
import { cp, mkdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { runToEnd } from './programs.ts';

/** The newest whose modules can all be had. */
const VERSION = 'v3.6.12';
const MODULE = `github.com/traefik/traefik/v3@${VERSION}`;
const BUILD_MS = 600_000;

export const traefikPath = join(homedir(), '.cache', 'lyceum', 'bin', `traefik-${VERSION}`);

/**
 * Builds Traefik from its module, once on this machine. `go install` refuses it for the `replace` lines of its go.mod,
 * which count only in a main module; so its source is copied from the module cache and built as one. Its dashboard,
 * which needs a JavaScript build, is empty then. Rejects after ten minutes; what is compiled by then is kept.
 */
export async function buildTraefik(): Promise<void> {
  if (existsSync(traefikPath)) return;
  console.log(`building Traefik ${VERSION}, once on this machine: this takes some minutes`);
  const source = `${traefikPath}.source`;
  await rm(source, { recursive: true, force: true });
  await mkdir(source, { recursive: true });
  try {
    const download = { file: 'go', args: ['mod', 'download', '-json', MODULE], inherit: true };
    const { Dir } = JSON.parse(await runToEnd(download, 60_000)) as { Dir: string };
    await cp(Dir, source, { recursive: true });
    await runToEnd({ file: 'chmod', args: ['-R', 'u+w', source] }, 60_000);
    const target = join(source, 'traefik');
    await runToEnd(
      {
        file: 'go',
        args: ['-C', source, 'build', '-trimpath', '-ldflags=-s -w', '-o', target, './cmd/traefik'],
        env: { CGO_ENABLED: '0' },
        inherit: true,
      },
      BUILD_MS,
    );
    await rename(target, traefikPath);
  } finally {
    await rm(source, { recursive: true, force: true });
  }
}

/** Static configuration as JSON, which YAML contains, and the dynamic one of the routes. */
export function traefikConfig(options: {
  port: number;
  dynamicFile: string;
  accessLog: string;
  routes: readonly { prefix: string; upstream: number }[];
}): { main: string; dynamic: string } {
  const { port, dynamicFile, accessLog, routes } = options;
  const nameOf = (prefix: string): string => prefix.replace(/\W+/g, '');
  return {
    main: JSON.stringify({
      global: { checkNewVersion: false, sendAnonymousUsage: false },
      log: { level: 'ERROR' },
      entryPoints: { web: { address: `127.0.0.1:${port}` } },
      accessLog: { filePath: accessLog, bufferingSize: 100 },
      serversTransport: { maxIdleConnsPerHost: 2_048 },
      providers: { file: { filename: dynamicFile } },
    }),
    dynamic: JSON.stringify({
      http: {
        routers: Object.fromEntries(
          routes.map(({ prefix }) => [
            nameOf(prefix),
            { rule: `PathPrefix(\`${prefix}/\`)`, service: nameOf(prefix), middlewares: ['limit'] },
          ]),
        ),
        middlewares: { limit: { rateLimit: { average: 1_000_000, burst: 1_000_000 } } },
        services: Object.fromEntries(
          routes.map(({ prefix, upstream }) => [
            nameOf(prefix),
            { loadBalancer: { servers: [{ url: `http://127.0.0.1:${upstream}` }] } },
          ]),
        ),
      },
    }),
  };
}
