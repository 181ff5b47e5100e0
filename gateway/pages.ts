import { Problem } from '../shared/errors.ts';
import { matchesEtag } from '../shared/http/etag.ts';
import { type Asset, loadAssets } from './assets.ts';
import type { GatewayConfig } from './config.ts';
import type { Exchange } from './exchange.ts';
import type { Readiness } from './internal.ts';
import type { OpenApiSource } from './openapi.ts';
import { pagePolicy } from './policy/security-headers.ts';
import type { HttpProxy } from './proxy/http.ts';
import { UpstreamPool } from './proxy/upstreams.ts';

/** Answers what the gateway itself has to say. Resolves to false for every other path. */
export type Pages = (exchange: Exchange) => Promise<boolean>;

/** Health, readiness, the API's description and the pages in `web/`; in development also the mail that was sent. */
export async function createPages(options: {
  config: GatewayConfig;
  openApi: OpenApiSource;
  proxy: HttpProxy;
  readiness: () => Promise<Readiness>;
  draining: () => boolean;
}): Promise<Pages> {
  const { config, openApi, proxy, readiness, draining } = options;
  const assets = await loadAssets({ devMail: config.devMail !== undefined, faroUrl: config.faroUrl });
  const policy = pagePolicy(config.faroUrl);
  const mail = config.devMail
    ? new UpstreamPool('dev-mail', [config.devMail], config.timings.downMs)
    : undefined;

  const dynamic: Record<string, (exchange: Exchange) => unknown> = {
    '/healthz': (exchange) => json(exchange, 200, { status: 'ok' }),
    '/readyz': async (exchange) => {
      // Without details, and true as long as something can be answered: one service that is down must not take
      // every gateway out of the load balancer. The internal port tells the whole state.
      const state = draining() ? undefined : await readiness();
      const ready = Object.values(state?.dependencies ?? {}).some(
        ({ ok, replicas }) => ok && replicas !== undefined,
      );
      json(exchange, ready ? 200 : 503, { status: ready ? 'ready' : 'not ready' });
    },
    '/openapi.json': async (exchange) => {
      const { json: text, etag } = await openApi.current();
      sendCached(
        exchange,
        { type: 'application/json; charset=utf-8', etag, plain: Buffer.from(text), gzip: () => undefined },
        'no-cache',
        policy,
      );
    },
  };

  return async (exchange) => {
    const { path, method } = exchange;
    const asset = assets.get(path);
    const isMail = mail !== undefined && (path === '/dev/mail' || path === '/dev/mail.json');
    if (!asset && !Object.hasOwn(dynamic, path) && !isMail) return false;
    exchange.route = isMail ? 'dev-mail' : 'page';
    if (method !== 'GET' && method !== 'HEAD') {
      throw new Problem('method-not-allowed', undefined, { headers: { allow: 'GET, HEAD' } });
    }
    if (isMail) await proxy.forward(exchange, { body: 'json', bodyLimit: 0 }, mail);
    else if (asset) sendCached(exchange, asset, 'public, max-age=300', policy);
    else await dynamic[path]!(exchange);
    return true;
  };
}

function json(exchange: Exchange, status: number, body: object): void {
  exchange.reply(
    status,
    { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' },
    JSON.stringify(body),
  );
}

/** A reply with an entity tag that answers If-None-Match (RFC 9110, 13.1.2), compressed for who understands it. */
function sendCached(exchange: Exchange, asset: Asset, cacheControl: string, policy: string): void {
  const { headers } = exchange.request;
  exchange.headers.set('content-security-policy', policy);
  exchange.headers.set('vary', [exchange.headers.get('vary'), 'Accept-Encoding'].filter(Boolean).join(', '));
  const common = { etag: asset.etag, 'cache-control': cacheControl };
  if (headers['if-none-match'] && matchesEtag(headers['if-none-match'], asset.etag, true))
    return exchange.reply(304, common);
  const accepts = /(?:^|,)\s*gzip\s*(?:,|$|;(?!\s*q=0(?:\.0*)?\s*(?:,|$)))/i.test(
    String(headers['accept-encoding'] ?? ''),
  );
  const compressed = accepts ? asset.gzip() : undefined;
  exchange.reply(
    200,
    // A weak tag for the compressed form: the same page, other bytes.
    {
      ...common,
      'content-type': asset.type,
      ...(compressed ? { 'content-encoding': 'gzip', etag: `W/${asset.etag}` } : {}),
    },
    compressed ?? asset.plain,
  );
}
