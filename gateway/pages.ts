import { Problem } from '../shared/errors.ts';
import { matchesEtag } from '../shared/http/etag.ts';
import { type Asset, loadAssets } from './assets.ts';
import type { GatewayConfig } from './config.ts';
import type { Exchange } from './exchange.ts';
import type { Readiness } from './internal.ts';
import type { OpenApiSource } from './openapi.ts';
import { acceptableCoding } from './policy/content-coding.ts';
import { pagePolicy } from './policy/security-headers.ts';
import type { ProxyRule } from './proxy/http.ts';

/** Answers what the gateway itself has to say, and leaves every other path alone. */
export type Pages = (exchange: Exchange) => void | Promise<void>;

/** Health, readiness, the API's description and the pages in `web/`; in development also the mail that was sent. */
export async function createPages(options: {
  config: GatewayConfig;
  openApi: OpenApiSource;
  /** Passes a request on to the mail catcher; absent outside of development. */
  mail: ((exchange: Exchange, rule: ProxyRule) => void) | undefined;
  readiness: () => Promise<Readiness>;
  draining: () => boolean;
}): Promise<Pages> {
  const { config, openApi, mail, readiness, draining } = options;
  const assets = await loadAssets({ devMail: config.devMail !== undefined, faroUrl: config.faroUrl });
  const policy = pagePolicy(config.faroUrl);
  const dynamic: Record<string, (exchange: Exchange) => void | Promise<void>> = {
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
    '/openapi.json': async (exchange) => sendCached(exchange, await openApi.current(), 'no-cache', policy),
  };

  return (exchange) => {
    const { path, method } = exchange;
    if (path.startsWith('/api/')) return;
    const asset = assets.get(path);
    const isMail = mail !== undefined && (path === '/dev/mail' || path === '/dev/mail.json');
    if (!asset && !isMail && !Object.hasOwn(dynamic, path)) return;
    exchange.route = isMail ? 'dev-mail' : 'page';
    if (method !== 'GET' && method !== 'HEAD') {
      throw new Problem('method-not-allowed', undefined, { headers: { allow: 'GET, HEAD' } });
    }
    if (isMail) return mail(exchange, { ...MAIL_RULE, firstByteMs: config.timings.firstByteMs });
    if (asset) return sendCached(exchange, asset, 'public, max-age=300', policy);
    return dynamic[path]!(exchange);
  };
}

const MAIL_RULE = { body: 'json', bodyLimit: 0, totalMs: 0, retries: 0, tryMs: 30_000 } as const;

function json(exchange: Exchange, status: number, body: object): void {
  exchange.reply(
    status,
    { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' },
    JSON.stringify(body),
  );
}

/** A reply with an entity tag that answers If-None-Match (RFC 9110, 13.1.2), compressed for who understands it. */
function sendCached(
  exchange: Exchange,
  asset: Asset,
  cacheControl: string,
  policy: string,
): void | Promise<void> {
  const ifNoneMatch = exchange.header('if-none-match');
  exchange.setHeader('content-security-policy', policy);
  exchange.addVary('Accept-Encoding');
  const { coding } = acceptableCoding(exchange.header('accept-encoding'));
  const form = coding && asset.compressed(coding);
  // A weak tag for the compressed form: the same page, other bytes.
  const common = { etag: form ? `W/${asset.etag}` : asset.etag, 'cache-control': cacheControl };
  if (ifNoneMatch && matchesEtag(ifNoneMatch, asset.etag, true)) return exchange.reply(304, common);
  const headers = { ...common, 'content-type': asset.type };
  if (!form) return exchange.reply(200, headers, asset.plain);
  return form.then((bytes) => exchange.reply(200, { ...headers, 'content-encoding': coding }, bytes));
}
