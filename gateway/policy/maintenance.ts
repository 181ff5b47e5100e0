import { createHash } from 'node:crypto';
import { Problem } from '../../shared/errors.ts';
import { readPage } from '../assets.ts';
import type { Exchange } from '../exchange.ts';
import { retryAfterMaintenance, type Switches } from './switches.ts';

/** Who watches over the gateway goes on to. */
const STILL_ANSWERED = new Set(['/healthz', '/readyz']);
const DEFAULT_MESSAGE = 'We are working on it and will be back soon.';

/** While everything is under maintenance: a page for browsers, a problem for everybody else. */
export async function createMaintenance(switches: Switches): Promise<(exchange: Exchange) => void> {
  const page = await readPage('maintenance.html');
  const style = /<style>([\s\S]*?)<\/style>/.exec(page)?.[1] ?? '';
  const hash = createHash('sha256').update(style).digest('base64');
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

  return (exchange) => {
    const entry = switches.maintenance;
    if (entry === undefined || STILL_ANSWERED.has(exchange.path)) return;
    exchange.route = 'maintenance';
    const message = entry.message ?? DEFAULT_MESSAGE;
    const retryAfter = retryAfterMaintenance(entry);
    const isBrowser =
      (exchange.method === 'GET' || exchange.method === 'HEAD') &&
      exchange.head.upgrade === '' &&
      (exchange.header('accept') ?? '').includes('text/html');
    if (!isBrowser) throw new Problem('maintenance', message, { retryAfter });
    exchange.reply(
      503,
      {
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        'content-security-policy': policy,
        'retry-after': String(retryAfter),
      },
      page
        .replace('{{message}}', () => escapeHtml(message))
        .replace('{{until}}', () =>
          entry.until ? `Expected back: ${escapeHtml(readable(entry.until))}` : '',
        ),
    );
  };
}

const readable = (until: string): string =>
  `${new Date(until).toISOString().slice(0, 16).replace('T', ' ')} UTC`;

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (character) => ENTITIES[character]!);
