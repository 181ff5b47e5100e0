import type { StoredMail } from './store.ts';

const SHOWN = 200;

/**
 * What the page may do: its own inline styles, and pictures only out of the mail itself. A mail's HTML sits in a
 * `srcdoc` frame, which inherits this policy, and in a sandbox without scripts; its links open in a new tab.
 */
export const PAGE_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'self'; frame-ancestors 'none'";

/** The page of caught mails: the newest at the left, one opened at the right. Works without any script. */
export function mailPage(mails: StoredMail[], view: { to?: string; open?: StoredMail }): string {
  const to = view.to ?? '';
  const open = view.open ?? mails[0];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Caught mail</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>Caught mail</h1>
<form method="get" action="/dev/mail" role="search">
<label for="to">Recipient</label>
<input id="to" name="to" type="search" autocomplete="off" value="${escapeHtml(to)}" placeholder="name@example.org">
<button>Show</button>
</form>
<a href="/dev/mail${query({ to })}">Refresh</a>
</header>
<div class="columns">
<nav aria-label="Mails">${list(mails, to, open)}</nav>
<main>${open ? opened(open) : ''}</main>
</div>
</body>
</html>
`;
}

function list(mails: StoredMail[], to: string, open: StoredMail | undefined): string {
  if (mails.length === 0) return `<p class="empty">No mail${to ? ' for this recipient' : ' yet'}.</p>`;
  const items = mails.slice(0, SHOWN).map((mail) => {
    const current = mail.id === open?.id ? ' aria-current="true"' : '';
    return `<li><a href="/dev/mail${query({ to, id: mail.id })}"${current}><strong>${escapeHtml(mail.subject || '(no subject)')}</strong><span>${escapeHtml(mail.to)}</span>${time(mail)}</a></li>`;
  });
  const rest = mails.length - SHOWN;
  const more = rest > 0 ? `<p class="empty">${rest} older: narrow the list by recipient.</p>` : '';
  return `<ol>${items.join('')}</ol>${more}`;
}

function opened(mail: StoredMail): string {
  const frame = mail.html
    ? `<iframe title="The mail as HTML" sandbox="allow-popups allow-popups-to-escape-sandbox" referrerpolicy="no-referrer" srcdoc="${escapeHtml(`<base target="_blank">${mail.html}`)}"></iframe>`
    : '';
  const text = mail.text ? `<pre>${linked(mail.text)}</pre>` : '';
  const body =
    frame && text ? `${frame}<details><summary>Plain text</summary>${text}</details>` : frame + text;
  return `<h2>${escapeHtml(mail.subject || '(no subject)')}</h2>
<dl><dt>From</dt><dd>${escapeHtml(mail.from)}</dd><dt>To</dt><dd>${escapeHtml(mail.to)}</dd><dt>At</dt><dd>${time(mail)}</dd></dl>
${body || '<p class="empty">This mail has no body.</p>'}`;
}

function time(mail: StoredMail): string {
  return `<time datetime="${mail.at}">${mail.at.replace('T', ' ').slice(0, 19)} UTC</time>`;
}

/** Escapes the text and makes its web addresses links, so that a confirmation can be followed with a click. */
function linked(text: string): string {
  return text
    .split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/)
    .map((part, index) => {
      const shown = escapeHtml(part);
      return index % 2 === 1
        ? `<a href="${shown}" target="_blank" rel="noopener noreferrer">${shown}</a>`
        : shown;
    })
    .join('');
}

function query(values: Record<string, string>): string {
  const filled = Object.entries(values).filter(([, value]) => value !== '');
  return filled.length === 0 ? '' : escapeHtml(`?${new URLSearchParams(filled)}`);
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d8dde3, #3a4048); --soft: light-dark(#5b6470, #a3adb8);
  --back: light-dark(#fff, #16191d); --current: light-dark(#e6f0fa, #20344a); }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.45 system-ui, sans-serif; background: var(--back); height: 100dvh; display: flex; flex-direction: column; }
header { display: flex; flex-wrap: wrap; gap: .75rem 1.25rem; align-items: center; padding: .75rem 1rem; border-bottom: 1px solid var(--line); }
h1 { font-size: 1.1rem; margin: 0 auto 0 0; }
form { display: flex; gap: .5rem; align-items: center; }
input, button { font: inherit; padding: .25rem .5rem; }
.columns { flex: 1; min-height: 0; display: grid; grid-template-columns: minmax(15rem, 24rem) 1fr; }
nav { overflow-y: auto; border-right: 1px solid var(--line); }
ol { list-style: none; margin: 0; padding: 0; }
nav a { display: grid; gap: .1rem; padding: .6rem 1rem; border-bottom: 1px solid var(--line); color: inherit; text-decoration: none; overflow-wrap: anywhere; }
nav a:hover, nav a[aria-current] { background: var(--current); }
nav span, time, dt, .empty { color: var(--soft); font-size: .87rem; }
main { overflow-y: auto; padding: 1rem 1.25rem; display: flex; flex-direction: column; gap: .75rem; }
h2 { font-size: 1.15rem; margin: 0; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .75rem; margin: 0; }
dd { margin: 0; overflow-wrap: anywhere; }
iframe { flex: 1 0 24rem; width: 100%; border: 1px solid var(--line); border-radius: 4px; background: #fff; color-scheme: light; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.empty { padding: 0 1rem; }
@media (max-width: 45rem) { body { height: auto; } .columns { grid-template-columns: 1fr; } nav { max-height: 40dvh; border-right: 0; border-bottom: 2px solid var(--line); } }
`;
