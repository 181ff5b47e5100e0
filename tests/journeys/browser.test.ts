import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';
import { mailsTo } from '../support/people.ts';
import { startEmbedded, type TestPlatform } from '../support/platform.ts';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
);
if (!CHROMIUM && process.env.CI === 'true') throw new Error('CI needs Chromium');

describe.skipIf(!CHROMIUM)('in a browser (skipped where there is no Chromium)', () => {
  let platform: TestPlatform;
  let browser: Browser;
  let collector: Bun.Server<undefined>;
  const collected: string[] = [];
  beforeAll(async () => {
    collector = Bun.serve({
      port: 0,
      async fetch(request) {
        collected.push(await request.text());
        return new Response(null, {
          status: 202,
          headers: { 'access-control-allow-origin': '*', 'access-control-allow-headers': '*' },
        });
      },
    });
    platform = await startEmbedded({ env: { FARO_URL: `http://127.0.0.1:${collector.port}/collect` } });
    browser = await chromium.launch({
      executablePath: CHROMIUM!,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    await platform?.dispose();
    await collector?.stop(true);
  }, 60_000);

  /** A page that reports everything it was refused or failed to load. */
  const open = async (path: string) => {
    const page = await browser.newPage();
    const troubles: string[] = [];
    page.on('pageerror', (error) => troubles.push(error.message));
    page.on('console', (message) => message.type() === 'error' && troubles.push(message.text()));
    page.on('requestfailed', (request) => troubles.push(`${request.url()} ${request.failure()?.errorText}`));
    page.on('request', (request) => {
      const known = [platform.url, `http://127.0.0.1:${collector.port}/`, 'data:'];
      if (!known.some((start) => request.url().startsWith(start)))
        troubles.push(`asks elsewhere: ${request.url()}`);
    });
    await page.goto(platform.url + path);
    return { page, troubles };
  };

  test('the start page says what this is and leads on', async () => {
    const { page, troubles } = await open('/');
    expect(await page.locator('h1').textContent()).toContain('Lyceum');
    expect(await page.locator('a[href="/docs"]').count()).toBeGreaterThan(0);
    expect(troubles).toEqual([]);
    await page.close();
  });

  test('the documentation shows every service without the internet', async () => {
    const { page, troubles } = await open('/docs');
    await page.locator('#operations-tag-content').click({ timeout: 20_000 });
    await page.locator('[data-path="/api/content/courses"]').first().waitFor();
    for (const tag of ['auth', 'chat', 'content', 'profile', 'notifications', 'analytics']) {
      expect(await page.locator(`#operations-tag-${tag}`).count()).toBe(1);
    }
    expect(troubles).toEqual([]);
    await page.close();
  });

  test('somebody signs up and proves the address by the link in the mail', async () => {
    const email = 'browser@school.example';
    const registered = await fetch(`${platform.url}/api/auth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email, password: 'a long enough phrase', displayName: 'Bro Wser' }),
    });
    expect(registered.status).toBe(201);
    let link: string | undefined;
    for (let tries = 0; !link && tries < 50; tries++) {
      link = (await mailsTo(platform, email))[0]?.text.match(/https?:\S+#token=\S+/)?.[0];
      await Bun.sleep(100);
    }
    const address = new URL(link!);
    const { page, troubles } = await open(address.pathname + address.hash);
    await page.getByRole('button').click();
    await page.getByText('confirmed').waitFor({ timeout: 10_000 });
    expect(troubles).toEqual([]);
    await page.close();
  });

  test('errors and web vitals of the pages reach the Faro collector', async () => {
    const page = await browser.newPage();
    await page.goto(`${platform.url}/`);
    await page.evaluate(() => setTimeout(() => Promise.reject(new Error('a defect of the page'))));
    for (let tries = 0; !collected.join().includes('a defect of the page') && tries < 100; tries++)
      await Bun.sleep(100);
    expect(collected.join()).toContain('a defect of the page');
    expect(collected.join()).toContain('lyceum-web');
    await page.close();
  });

  test('caught mails are shown without running what is in them', async () => {
    const { page, troubles } = await open('/dev/mail');
    await page.getByText('Confirm your e-mail address').first().waitFor();
    expect(troubles).toEqual([]);
    await page.close();
  });
});
