import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createServer, type Socket } from 'node:net';
import PostalMime from 'postal-mime';
import { SMTPServer } from 'smtp-server';
import { isUnavailable } from '../../errors.ts';
import type { Mail, Mailer } from '../../ports/mailer.ts';
import { openSmtp } from './smtp.ts';

const log = { debug: () => {} };
const mail = (changes: Partial<Mail> = {}): Mail => ({
  idempotencyKey: 'notification-1',
  to: 'anna@example.org',
  subject: 'Grüße 🎓',
  text: 'Hello\n.\nworld',
  html: '<p>Hello</p>',
  ...changes,
});

describe('SMTP', () => {
  const received: { to: string[]; raw: Buffer }[] = [];
  let server: SMTPServer;
  let mailer: Mailer;

  beforeAll(async () => {
    server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS', 'AUTH'],
      onRcptTo(address, _session, done) {
        const code = { nobody: 550, full: 452 }[address.address.split('@')[0]!];
        done(code ? Object.assign(new Error('no'), { responseCode: code }) : null);
      },
      onData(stream, session, done) {
        const parts: Buffer[] = [];
        stream.on('data', (part: Buffer) => parts.push(part));
        stream.on('end', () => {
          received.push({ to: session.envelope.rcptTo.map((one) => one.address), raw: Buffer.concat(parts) });
          done();
        });
      },
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.server.address() as { port: number };
    mailer = openSmtp({ url: `smtp://127.0.0.1:${port}`, from: 'Lyceum <school@lyceum.example>', log });
  });
  afterAll(async () => {
    await mailer.close();
    await new Promise<void>((resolve) => server.close(resolve));
  });
  const last = async () => ({ to: received.at(-1)!.to, mail: await PostalMime.parse(received.at(-1)!.raw) });

  test('delivers subject, text and html as they are', async () => {
    await mailer.send(mail());
    const { to, mail: got } = await last();
    expect(to).toEqual(['anna@example.org']);
    expect(got.from?.address).toBe('school@lyceum.example');
    expect(got.subject).toBe('Grüße 🎓');
    expect(got.text?.trim()).toBe('Hello\n.\nworld');
    expect(got.html?.trim()).toBe('<p>Hello</p>');
  });

  test('a repeat carries the same Message-ID, whatever is in its key', async () => {
    for (const _ of [1, 2]) {
      await mailer.send(mail({ idempotencyKey: 'n-1' }));
      expect((await last()).mail.messageId).toBe('<n-1@lyceum.example>');
    }
    await mailer.send(mail({ idempotencyKey: 'a b>\r\nBcc: x@y.z' }));
    const { to, mail: got } = await last();
    expect(to).toEqual(['anna@example.org']);
    expect(got.messageId).toMatch(/^<[!-~]+@lyceum\.example>$/);
    expect(got.bcc).toBeUndefined();
  });

  test('nobody writes headers through a subject or an address', async () => {
    await mailer.send(mail({ subject: 'Hi\r\nBcc: victim@example.org\r\n\r\n<b>body</b>' }));
    const { to, mail: got } = await last();
    expect(to).toEqual(['anna@example.org']);
    expect(got.subject).toBe('Hi Bcc: victim@example.org <b>body</b>');
    expect(got.headers.map((header) => header.key)).not.toContain('bcc');
    const before = received.length;
    for (const bad of [
      'a@b.c\r\nBcc: v@x.y',
      'a@b.c, v@x.y',
      'a@b.c;v@x.y',
      'Name <a@b.c>',
      'a@b.c>\r\nRCPT TO:<v@x.y',
      '',
      'nobody',
      'a b@c.d',
      'a@b.c\n',
    ]) {
      await expect(mailer.send(mail({ to: bad }))).rejects.toThrow('one recipient');
    }
    expect(received).toHaveLength(before);
  });

  test('a refusal for good is told from one for now', async () => {
    const forGood = await mailer.send(mail({ to: 'nobody@example.org' })).catch((error: unknown) => error);
    expect(isUnavailable(forGood)).toBe(false);
    expect(forGood).toMatchObject({ responseCode: 550 });
    expect(await mailer.send(mail({ to: 'full@example.org' })).then(() => false, isUnavailable)).toBe(true);
  });

  test('a hundred at once', async () => {
    const before = received.length;
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => mailer.send(mail({ idempotencyKey: `many-${i}` }))),
    );
    expect(received.length - before).toBe(100);
    await mailer.ready();
  });
});

describe('a mail server that is not well', () => {
  test('away: unavailable at once', async () => {
    const mailer = openSmtp({ url: 'smtp://127.0.0.1:1', from: 'a@b.example', log });
    const started = performance.now();
    expect(await mailer.send(mail()).then(() => false, isUnavailable)).toBe(true);
    expect(await mailer.ready().then(() => false, isUnavailable)).toBe(true);
    expect(performance.now() - started).toBeLessThan(2_000);
    await mailer.close();
  });

  test('silent: given up after 5 s', async () => {
    const sockets: Socket[] = [];
    const mute = createServer((socket) => void sockets.push(socket)).listen(0);
    await new Promise((resolve) => mute.once('listening', resolve));
    const mailer = openSmtp({
      url: `smtp://127.0.0.1:${(mute.address() as { port: number }).port}`,
      from: 'a@b.example',
      log,
    });
    const started = performance.now();
    expect(await mailer.send(mail()).then(() => false, isUnavailable)).toBe(true);
    expect(performance.now() - started).toBeLessThan(7_000);
    await mailer.close();
    for (const socket of sockets) socket.destroy();
    mute.close();
  }, 15_000);
});
