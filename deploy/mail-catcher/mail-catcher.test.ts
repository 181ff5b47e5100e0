import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTransport } from 'nodemailer';
import { type MailCatcher, startMailCatcher } from './mail-catcher.ts';
import { type CaughtMail, openMailStore } from './store.ts';

setDefaultTimeout(60_000);

let dir: string;
let catcher: MailCatcher;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'lyceum-mail-'));
  catcher = await startMailCatcher({ smtpPort: 0, httpPort: 0, dir, maxMailBytes: 1_000_000 });
});

afterAll(async () => {
  await catcher.stop();
  await rm(dir, { recursive: true, force: true });
});

async function mailsTo(address: string, httpUrl = catcher.httpUrl): Promise<CaughtMail[]> {
  const response = await fetch(`${httpUrl}/dev/mail.json?to=${encodeURIComponent(address)}`);
  expect(response.status).toBe(200);
  return ((await response.json()) as { items: CaughtMail[] }).items;
}

const page = async (query = '') => (await fetch(`${catcher.httpUrl}/dev/mail${query}`)).text();

describe('a mail', () => {
  test('is shown with plain addresses, both bodies and its time', async () => {
    await createTransport(catcher.smtpUrl).sendMail({
      from: '"Lyceum" <school@lyceum.test>',
      to: '"Ada" <ada@lyceum.test>',
      bcc: 'audit@lyceum.test',
      subject: 'Übung für morgen',
      text: 'Hallo Ada',
      html: '<p>Hallo <b>Ada</b></p>',
    });
    const [mail] = await mailsTo('ADA@lyceum.test');
    expect(mail).toMatchObject({ from: 'school@lyceum.test', subject: 'Übung für morgen' });
    expect(mail?.to).toBe('ada@lyceum.test, audit@lyceum.test');
    expect(mail?.text.trim()).toBe('Hallo Ada');
    expect(mail?.html).toContain('<b>Ada</b>');
    expect(mail?.at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(await mailsTo('audit@lyceum.test')).toHaveLength(1);
    expect(await mailsTo('da@lyceum.test')).toHaveLength(0);
  });

  test('comes before the older ones', async () => {
    const transport = createTransport(catcher.smtpUrl);
    for (const subject of ['first', 'second', 'third']) {
      await transport.sendMail({ from: 'a@lyceum.test', to: 'order@lyceum.test', subject, text: subject });
    }
    const mails = await mailsTo('order@lyceum.test');
    expect(mails.map((mail) => mail.subject)).toEqual(['third', 'second', 'first']);
  });

  test('is shown once, however often the same Message-ID is delivered to the same address', async () => {
    const mail = { from: 'a@lyceum.test', subject: 'once', text: 'x', messageId: '<job-1@lyceum.test>' };
    const send = (to: string) => createTransport(catcher.smtpUrl).sendMail({ ...mail, to });
    await Promise.all([send('twice@lyceum.test'), send('twice@lyceum.test'), send('Twice@lyceum.test')]);
    await send('other@lyceum.test');
    expect(await mailsTo('twice@lyceum.test')).toHaveLength(1);
    expect(await mailsTo('other@lyceum.test')).toHaveLength(1);
  });

  test('of an account that signs in is accepted, whatever the password', async () => {
    const url = catcher.smtpUrl.replace('smtp://', 'smtp://someone:secret@');
    await createTransport(url).sendMail({
      from: 'a@lyceum.test',
      to: 'auth@lyceum.test',
      subject: 's',
      text: 't',
    });
    expect(await mailsTo('auth@lyceum.test')).toHaveLength(1);
  });

  test('that is too large is refused with 552', async () => {
    const text = `${'x'.repeat(70)}\n`.repeat(20_000);
    const sending = createTransport(catcher.smtpUrl).sendMail({
      from: 'a@lyceum.test',
      to: 'big@lyceum.test',
      text,
    });
    await expect(sending).rejects.toMatchObject({ responseCode: 552 });
    expect(await mailsTo('big@lyceum.test')).toHaveLength(0);
  });
});

describe('the page', () => {
  test('shows a hostile mail as text and in a sandbox without scripts', async () => {
    await createTransport(catcher.smtpUrl).sendMail({
      from: 'a@lyceum.test',
      to: 'hostile@lyceum.test',
      subject: '<script>alert(1)</script>',
      text: 'see https://lyceum.test/verify?token=a&b=1. <img src=x onerror=alert(2)>',
      html: '"></iframe><script>alert(3)</script>',
    });
    const html = await page('?to=hostile@lyceum.test');
    expect(html).not.toContain('<script');
    expect(html).not.toContain('<img');
    expect(html).toContain('sandbox="allow-popups allow-popups-to-escape-sandbox"');
    expect(html.match(/<\/iframe>/g)).toHaveLength(1);
    expect(html).toContain('href="https://lyceum.test/verify?token=a&amp;b=1"');
    const response = await fetch(`${catcher.httpUrl}/dev/mail`);
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
  });

  test('reads well without any mail, and a filter is escaped', async () => {
    const html = await page('?to=%22%3E%3Cb%3Enobody');
    expect(html).toContain('No mail for this recipient');
    expect(html).not.toContain('<b>nobody');
  });

  test('exists only where it should', async () => {
    expect((await fetch(`${catcher.httpUrl}/`)).status).toBe(404);
    expect((await fetch(`${catcher.httpUrl}/dev/mail`, { method: 'POST' })).status).toBe(405);
  });
});

describe('the store', () => {
  test('keeps the newest mails only', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lyceum-mail-'));
    const store = await openMailStore(folder, 3);
    const mail = { from: 'a@b', recipients: ['c@d'], subject: '', text: '', html: '' };
    for (const n of [1, 2, 3, 4, 5]) await store.deliver({ ...mail, subject: `${n}`, messageId: `<${n}>` });
    expect(store.list({}).map((kept) => kept.subject)).toEqual(['5', '4', '3']);
    expect(await readdir(folder)).toHaveLength(3);
    const again = await openMailStore(folder, 2);
    expect(again.list({}).map((kept) => kept.subject)).toEqual(['5', '4']);
    await rm(folder, { recursive: true, force: true });
  });

  test('of a process that is killed has every acknowledged mail, and still knows its Message-ID', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lyceum-mail-'));
    const [smtpPort, httpPort] = [await freePort(), await freePort()];
    const start = async () => {
      const env = {
        PATH: '/usr/bin:/bin',
        SMTP_PORT: `${smtpPort}`,
        HTTP_PORT: `${httpPort}`,
        MAIL_DIR: folder,
      };
      const script = join(import.meta.dirname, 'main.ts');
      const child = spawn(process.execPath, [script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
      await new Promise((resolve) => child.stdout?.once('data', resolve));
      return child;
    };
    const mail = { from: 'a@b.test', to: 'kill@b.test', subject: 's', text: 't', messageId: '<k@b.test>' };
    const transport = () => createTransport(`smtp://127.0.0.1:${smtpPort}`);
    let child = await start();
    await transport().sendMail(mail);
    child.kill('SIGKILL');
    child = await start();
    await transport().sendMail(mail);
    expect(await mailsTo('kill@b.test', `http://127.0.0.1:${httpPort}`)).toHaveLength(1);
    child.kill('SIGTERM');
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0);
    await rm(folder, { recursive: true, force: true });
  });
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
