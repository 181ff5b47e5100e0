import { oneLine, renderMail } from '../../../shared/mail/layout.ts';
import type { MailText } from '../store/waiting-mails.ts';
import { links, type Words } from './words.ts';

/** The mail form of a notification. `publicUrl` is where people reach the school. */
export function composeMail(words: Words, publicUrl: string): MailText {
  const content = renderMail({
    title: words.title,
    paragraphs: [words.body],
    button: { label: words.action, url: publicUrl + words.link },
    footer: `You get this mail because your notification settings ask for it. Switch it off: ${publicUrl}${links.preferences}`,
  });
  return { subject: oneLine(words.title), ...content };
}
