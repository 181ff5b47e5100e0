import { createTransport } from 'nodemailer';
import { unavailable } from '../../errors.ts';
import type { Mailer } from '../../ports/mailer.ts';

/** Milliseconds: to connect and be greeted, and of silence in a conversation. */
const CONNECT_MS = 5_000;
const SILENCE_MS = 15_000;

/**
 * Mail over SMTP; `url` is `smtp://[user:password@]host:port`, or `smtps://`. A refusal for good (5xx) rejects with
 * the server's error and its `responseCode`; everything else that keeps a mail from being accepted now (no
 * connection, silence, 4xx) with 503 `upstream-unavailable`. `from` is an address, or `Name <address>`.
 */
export function openSmtp({
  url,
  from,
  log,
}: {
  url: string;
  from: string;
  log: { debug(fields: object, text: string): void };
}): Mailer {
  const transport = createTransport({
    url,
    pool: true,
    maxConnections: 5,
    maxMessages: 100,
    connectionTimeout: CONNECT_MS,
    greetingTimeout: CONNECT_MS,
    socketTimeout: SILENCE_MS,
    // Nothing in a mail may make us read files or fetch addresses.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const host = /@([^<>@\s]+?)>?$/.exec(from)?.[1];
  if (host === undefined) throw new TypeError('The sender of mails must be an address');

  return {
    async send({ idempotencyKey, to, subject, text, html }) {
      const messageId = `<${localPart(idempotencyKey)}@${host}>`;
      const address = mailbox(to);
      try {
        await transport.sendMail({
          from,
          to: address,
          // Also the envelope, so that nothing is parsed twice in two ways.
          envelope: { from: /<([^<>]+)>$/.exec(from)?.[1] ?? from, to: [address.address] },
          subject: oneLine(subject),
          text,
          html,
          messageId,
        });
        log.debug({ messageId }, 'mail: accepted');
      } catch (error) {
        const { responseCode = 0 } = error as { responseCode?: number };
        throw responseCode >= 500 ? error : unavailable('The mail server', error);
      }
    },
    async ready() {
      try {
        await transport.verify();
      } catch (error) {
        throw unavailable('The mail server', error);
      }
    },
    async close() {
      transport.close();
    },
  };
}

/** One address and nothing else: no list, no display name, no line break (RFC 5321, 4.1.2, without quoted local parts). */
function mailbox(to: string): { name: string; address: string } {
  if (to.length > 254 || !/^[^\s@<>()[\]\\,;:"\p{Cc}]+@[^\s@<>()[\]\\,;:"\p{Cc}]+$/u.test(to)) {
    throw new TypeError('Not the address of one recipient');
  }
  return { name: '', address: to };
}

/** A line break would begin another header (RFC 5322, 2.2). */
const oneLine = (subject: string): string => subject.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim();

/** As the Message-ID's local part (dot-atom, RFC 5322, 3.2.3); other characters are written as their code. */
const localPart = (key: string): string =>
  key.replace(/[^A-Za-z0-9!#$%&'*+/?^_`{|}~-]/gu, (c) => `=${c.codePointAt(0)!.toString(16)}=`);
