/** What a mail says, in plain text. The layout escapes it, so people's names and words can stand in it as they are. */
export interface MailContent {
  title: string;
  /** Plain text; a line break inside a paragraph stays one. */
  paragraphs: string[];
  /** The one thing to do. `url` must be absolute http(s). */
  button?: { label: string; url: string };
  /** Why this mail came and how to stop it. */
  footer?: string;
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text for the inside of an element or of a quoted attribute. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (char) => ENTITIES[char]!);

/** A subject of one line of at most 150 characters: a line break in it would start another header (RFC 5322, 2.2). */
export const oneLine = (text: string): string => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: removing them is the purpose
  const flat = text.replace(/[\u0000-\u0020\u007f\u0085\u2028\u2029]+/g, ' ').trim();
  const characters = [...flat];
  return characters.length > 150 ? `${characters.slice(0, 149).join('')}…` : flat;
};

/**
 * The mail as plain text and as HTML, in the one look that all mails have: no pictures, no tracking, nothing
 * loaded from elsewhere. Throws a TypeError on a button that does not lead to http(s).
 */
export function renderMail(content: MailContent): { text: string; html: string } {
  const url = content.button && buttonUrl(content.button.url);
  return { text: renderText(content, url), html: renderHtml(content, url) };
}

function buttonUrl(url: string): string {
  const { protocol, href } = new URL(url);
  if (protocol !== 'https:' && protocol !== 'http:') throw new TypeError('A mail links to http(s) only');
  return href;
}

function renderText({ title, paragraphs, button, footer }: MailContent, url: string | undefined): string {
  return [
    title,
    ...paragraphs,
    ...(button && url ? [`${button.label}:\n${url}`] : []),
    ...(footer ? [`-- \n${footer}`] : []), // RFC 3676, 4.3: two dashes and a space begin a signature
  ]
    .join('\n\n')
    .concat('\n');
}

function renderHtml({ title, paragraphs, button, footer }: MailContent, url: string | undefined): string {
  const block = (style: string, text: string) =>
    `<p style="margin:0 0 16px;${style}">${escapeHtml(text).replaceAll('\n', '<br>')}</p>`;
  const action =
    button && url
      ? `<p style="margin:24px 0"><a href="${escapeHtml(url)}" style="display:inline-block;padding:12px 20px;border-radius:6px;background:#1f4fd8;color:#ffffff;text-decoration:none;font-weight:600">${escapeHtml(button.label)}</a></p>` +
        `<p style="margin:0 0 16px;font-size:13px;color:#5b6472;word-break:break-all">${escapeHtml(url)}</p>`
      : '';
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title></head>
<body style="margin:0;padding:24px;background:#f3f5f8;color:#1b2330;font:16px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif">
<div style="max-width:560px;margin:0 auto;padding:32px;background:#ffffff;border-radius:8px">
<h1 style="margin:0 0 16px;font-size:20px;line-height:1.3">${escapeHtml(title)}</h1>
${paragraphs.map((paragraph) => block('', paragraph)).join('\n')}
${action}
${footer ? `<hr style="border:0;border-top:1px solid #e3e7ee;margin:24px 0 16px">\n${block('font-size:13px;color:#5b6472', footer)}` : ''}
</div>
</body>
</html>
`;
}
