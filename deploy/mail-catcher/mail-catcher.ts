import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import PostalMime, { type Address } from 'postal-mime';
import { SMTPServer, type SMTPServerEnvelope } from 'smtp-server';
import { mailHandler } from './http.ts';
import { type MailStore, openMailStore } from './store.ts';

export interface MailCatcher {
  smtpUrl: string;
  httpUrl: string;
  /** The HTTP side without its socket, for a process that serves `/dev/mail` itself. */
  handle(request: Request): Response;
  stop(): Promise<void>;
}

export interface MailCatcherOptions {
  /** 0 takes any free port. */
  smtpPort: number;
  httpPort: number;
  /** Loopback unless said: there is no authentication, and the mails hold links that sign people in. */
  host?: string;
  /** Where the mails stay. One catcher a folder. */
  dir: string;
  /** Largest mail accepted, announced as SIZE (RFC 1870); 25 MiB unless said. */
  maxMailBytes?: number;
}

/**
 * Starts an SMTP server that delivers to nobody and shows what it caught.
 * A mail is on disk before it is acknowledged (RFC 5321 section 6.1: 250 takes over the responsibility).
 * Rejects when a port is taken or the folder cannot be written.
 */
export async function startMailCatcher(options: MailCatcherOptions): Promise<MailCatcher> {
  const host = options.host ?? '127.0.0.1';
  const store = await openMailStore(options.dir);
  const handle = mailHandler(store);
  const smtp = smtpServer(store, options.maxMailBytes ?? 25 * 1024 * 1024);
  const http = httpServer(handle);
  const smtpPort = await listen(smtp.server, options.smtpPort, host);
  let httpPort: number;
  try {
    httpPort = await listen(http, options.httpPort, host);
  } catch (error) {
    await closeSmtp(smtp);
    throw error;
  }
  return {
    smtpUrl: `smtp://${host}:${smtpPort}`,
    httpUrl: `http://${host}:${httpPort}`,
    handle,
    async stop() {
      http.closeAllConnections();
      await Promise.all([closeSmtp(smtp), new Promise((done) => http.close(done))]);
    },
  };
}

function smtpServer(store: MailStore, maxMailBytes: number): SMTPServer {
  const smtp = new SMTPServer({
    banner: 'Lyceum mail catcher',
    size: maxMailBytes,
    // Senders differ in whether they sign in; every name and password will do.
    authOptional: true,
    allowInsecureAuth: true,
    onAuth: (auth, _session, done) => done(null, { user: auth.username ?? 'anyone' }),
    disabledCommands: ['STARTTLS'],
    disableReverseLookup: true,
    closeTimeout: 2_000,
    onData(stream, session, done) {
      read(stream, maxMailBytes)
        .then((raw) => {
          if (stream.sizeExceeded)
            throw Object.assign(new Error('The mail is too large'), { responseCode: 552 });
          return deliver(store, raw, session.envelope);
        })
        .then(
          () => done(),
          (error: Error) => done(Object.assign(error, { responseCode: responseCode(error) })),
        );
    },
  });
  // A client that drops its connection is its own affair; listening errors reject in `listen`.
  smtp.on('error', () => {});
  return smtp;
}

/** 451 asks the sender to try again, which is right for anything that we failed at. */
function responseCode(error: Error & { responseCode?: number }): number {
  return error.responseCode ?? 451;
}

async function deliver(store: MailStore, raw: Uint8Array, envelope: SMTPServerEnvelope): Promise<void> {
  const mail = await PostalMime.parse(raw);
  await store.deliver({
    from: address(mail.from) || (envelope.mailFrom ? envelope.mailFrom.address : ''),
    // The envelope, not the header, says who gets it: blind copies are only there.
    recipients: envelope.rcptTo.map((recipient) => recipient.address),
    subject: mail.subject ?? '',
    text: mail.text ?? '',
    html: mail.html ?? '',
    messageId: mail.messageId ?? '',
  });
}

function address(value: Address | undefined): string {
  return value?.address ?? '';
}

async function read(stream: Readable, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size <= maxBytes) chunks.push(chunk); // read on to the end, or the client never hears the refusal
  }
  return Buffer.concat(chunks);
}

function httpServer(handle: (request: Request) => Response): Server {
  return createServer((incoming, outgoing) => {
    // The handler reads the path and query only; the host is whatever the caller called us.
    const request = new Request(new URL(incoming.url ?? '/', 'http://mail-catcher'), {
      method: incoming.method,
    });
    const response = handle(request);
    response.arrayBuffer().then((body) => {
      outgoing.writeHead(response.status, Object.fromEntries(response.headers));
      outgoing.end(incoming.method === 'HEAD' ? undefined : Buffer.from(body));
    });
  });
}

interface Listening {
  listen(port: number, host: string): unknown;
  address(): AddressInfo | string | null;
  once(event: 'listening' | 'error', listener: (error?: Error) => void): unknown;
}

function listen(server: Listening, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(error));
    server.once('listening', () => resolve((server.address() as AddressInfo).port));
    server.listen(port, host);
  });
}

function closeSmtp(smtp: SMTPServer): Promise<void> {
  return new Promise((done) => smtp.close(() => done()));
}
