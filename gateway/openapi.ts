import { SERVICES, type ServiceName } from '../shared/contracts/common.ts';
import type { OpenApiDocument } from '../shared/http/openapi.ts';
import type { Log } from '../shared/observability/log.ts';
import { VERSION } from '../shared/platform/version.ts';
import { type Asset, makeAsset } from './assets.ts';
import { probe } from './probe.ts';
import type { HttpPool } from './proxy/http.ts';

const UNTIL_COMPLETE_MS = 1_000;
const ONCE_COMPLETE_MS = 60_000;

export interface OpenApiSource {
  /** The merged document as it is known now. */
  current(): Promise<Asset>;
  stop(): void;
}

/** Keeps the services' documents merged into one. A service that is down keeps the part that was last seen of it. */
export function createOpenApi(
  pools: Record<ServiceName, HttpPool>,
  publicUrl: string,
  isDeprecated: (method: string, path: string) => boolean,
  log: Log,
): OpenApiSource {
  const parts = new Map<ServiceName, OpenApiDocument>();
  const render = () =>
    makeAsset(
      'application/json; charset=utf-8',
      Buffer.from(JSON.stringify(mergeDocuments(parts, publicUrl, isDeprecated))),
    );
  let merged = render();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let refreshing: Promise<void> | undefined;
  let stopped = false;

  const complete = (): boolean => parts.size === SERVICES.length;

  async function fetchAll(): Promise<void> {
    await Promise.all(
      SERVICES.map(async (name) => {
        const part = await fetchPart(pools[name]).catch((error) =>
          log.debug({ upstream: name, reason: String(error) }, 'no OpenAPI part'),
        );
        if (part) parts.set(name, part);
      }),
    );
    // The old one may have been compressed already.
    const next = render();
    if (next.etag !== merged.etag) merged = next;
    if (stopped) return;
    timer = setTimeout(refresh, complete() ? ONCE_COMPLETE_MS : UNTIL_COMPLETE_MS);
    timer.unref?.();
  }

  /** One at a time: whoever asks meanwhile waits for the same answer. */
  function refresh(): Promise<void> {
    clearTimeout(timer);
    refreshing ??= fetchAll().finally(() => {
      refreshing = undefined;
    });
    return refreshing;
  }
  void refresh();

  return {
    async current() {
      // Right after the start a service may not have been asked yet: an incomplete document would be untrue.
      if (!complete()) await refresh();
      return merged;
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

async function fetchPart(pool: HttpPool): Promise<OpenApiDocument> {
  let last: unknown = new Error('no replica');
  for (const { name } of pool.replicas) {
    try {
      return (await (await probe(`http://${name}/openapi.json`, 3_000)).json()) as OpenApiDocument;
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

/**
 * One document of many. Components of one name but different content get their service's name in front; what the
 * routing table deprecates is marked.
 */
export function mergeDocuments(
  parts: ReadonlyMap<ServiceName, OpenApiDocument>,
  publicUrl: string,
  isDeprecated: (method: string, path: string) => boolean = () => false,
): OpenApiDocument & { servers: { url: string }[] } {
  const merged = {
    openapi: '3.1.0' as const,
    info: {
      title: 'Lyceum',
      version: VERSION,
      description:
        'The real-time backend of an online school. Errors are application/problem+json (RFC 9457).',
    },
    servers: [{ url: publicUrl }],
    paths: {} as OpenApiDocument['paths'],
    components: { schemas: {} as Record<string, unknown>, securitySchemes: {} as Record<string, unknown> },
    tags: [] as OpenApiDocument['tags'],
  };
  for (const service of SERVICES) {
    const part = parts.get(service);
    if (!part) continue;
    const { schemas } = merged.components;
    const clashes = Object.entries(part.components?.schemas ?? {})
      .filter(([name, schema]) => name in schemas && JSON.stringify(schemas[name]) !== JSON.stringify(schema))
      .map(([name]) => name);
    const own = clashes.reduce(
      (text, name) =>
        text.replaceAll(`"#/components/schemas/${name}"`, `"#/components/schemas/${service}.${name}"`),
      JSON.stringify(part),
    );
    const renamed = JSON.parse(own) as OpenApiDocument;
    for (const [name, schema] of Object.entries(renamed.components?.schemas ?? {})) {
      schemas[clashes.includes(name) ? `${service}.${name}` : name] = schema;
    }
    Object.assign(merged.components.securitySchemes, renamed.components?.securitySchemes);
    for (const [path, operations] of Object.entries(renamed.paths ?? {})) {
      for (const [method, operation] of Object.entries(operations))
        if (isDeprecated(method.toUpperCase(), path))
          Object.assign(operation as object, { deprecated: true });
      merged.paths[path] = operations;
    }
    merged.tags.push(...(renamed.tags ?? []));
  }
  return merged;
}
