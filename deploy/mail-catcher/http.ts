import { mailPage, PAGE_POLICY } from './page.ts';
import type { CaughtMail, MailStore, StoredMail } from './store.ts';

/**
 * The reading side of the mail catcher as a fetch-style handler, so that a process may serve it under its own
 * address. `GET /dev/mail` is a page, `GET /dev/mail.json` is `{items}`, newest first; `?to=` filters both.
 */
export function mailHandler(store: MailStore): (request: Request) => Response {
  return (request) => {
    const url = new URL(request.url);
    const to = url.searchParams.get('to') ?? undefined;
    const isPage = url.pathname === '/dev/mail' || url.pathname === '/dev/mail/';
    if (!isPage && url.pathname !== '/dev/mail.json') return problem(404, 'not-found', 'Not found');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return problem(405, 'method-not-allowed', 'Method not allowed', { allow: 'GET, HEAD' });
    }
    const mails = store.list({ to });
    if (!isPage) return Response.json({ items: mails.map(shown) }, { headers: HEADERS });
    const open = store.get(url.searchParams.get('id') ?? '');
    return new Response(mailPage(mails, { to, open }), {
      headers: {
        ...HEADERS,
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': PAGE_POLICY,
      },
    });
  };
}

const HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};

function shown({ from, to, subject, text, html, at }: StoredMail): CaughtMail {
  return { from, to, subject, text, html, at };
}

function problem(
  status: number,
  code: string,
  title: string,
  headers: Record<string, string> = {},
): Response {
  return new Response(JSON.stringify({ type: 'about:blank', title, status, code, detail: title }), {
    status,
    headers: { ...HEADERS, 'content-type': 'application/problem+json', ...headers },
  });
}
