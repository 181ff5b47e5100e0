import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProblemCode } from '../../shared/errors.ts';
import { eventually, must, type Person, signInAs } from '../support/people.ts';
import { startEmbedded, type TestPlatform } from '../support/platform.ts';
import {
  errorsLogged,
  expectDiscreet,
  expectRefused,
  faultsOf,
  parseRaw,
  replyOf,
  speakRaw,
  stored,
  unnoticed,
} from './refusals.ts';

/** Files that are no good: names, bytes and ranges. Refused, and not a byte of them stays. */

let platform: TestPlatform;
let teacher: Person;
let bystander: Person;

beforeAll(async () => {
  platform = await startEmbedded();
  teacher = await signInAs(platform, 'teacher');
  bystander = await signInAs(platform, 'learner');
  // What the demo school has uploaded must have been looked at: its thumbnails are objects, too.
  await settled();
}, 120_000);

afterAll(async () => {
  await platform?.dispose();
}, 60_000);

/** Every object the platform holds, finished or not. */
async function objects(): Promise<string[]> {
  const entries = await readdir(join(platform.dataDir, 'objects'), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

async function settled(): Promise<void> {
  let last = '';
  await eventually('all files to be processed', async () => {
    const now = JSON.stringify([
      await objects(),
      (await teacher.api.get('/api/content/files?limit=100')).body,
    ]);
    const same = now === last && !now.includes('"processing"');
    last = now;
    await Bun.sleep(500);
    return same || undefined;
  });
}

/** Runs the attack; afterwards the lists, the disk and somebody else's work are as if it had not been. */
async function harmless(attack: () => Promise<string[]>): Promise<void> {
  const [lists, held] = [await stored([teacher, bystander]), await objects()];
  expect(await unnoticed(platform, bystander, attack)).toEqual([]);
  expect(await stored([teacher, bystander])).toEqual(lists);
  const extra = await eventually('the objects of before', async () => {
    const now = await objects();
    return JSON.stringify(now) === JSON.stringify(held) ? [] : undefined;
  }).catch(async () => (await objects()).filter((object) => !held.includes(object)));
  expect(extra).toEqual([]);
  expect(await errorsLogged(platform)).toEqual([]);
}

const upload = (query: string, body: BodyInit, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${platform.url}/api/content/files${query}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${teacher.token}`,
      'content-type': 'application/octet-stream',
      ...headers,
    },
    body,
  });

async function judge(title: string, response: Promise<Response>, ...codes: ProblemCode[]): Promise<string[]> {
  return faultsOf(await replyOf(response), ...codes).map((fault) => `${title}: ${fault}`);
}

const NAMES: Record<string, string> = {
  'climbs up': '../../etc/passwd',
  'climbs up on Windows': '..\\..\\windows\\system.ini',
  'begins at the root': '/etc/passwd',
  'is a drive': 'C:\\x.txt',
  'is one dot': '.',
  'is two dots': '..',
  'has a NUL': 'a\0.txt',
  'ends a header': 'a.txt\r\nSet-Cookie: a=b',
  'has 5,000 characters': 'x'.repeat(5_000),
  'is nothing': '',
  'is spaces': '   ',
  'is a line separator': 'a\u2028b.txt',
};

describe('names', () => {
  test('that are none: 400, in the query and in a form', async () => {
    await harmless(async () => {
      const surprises: string[] = [];
      for (const [what, name] of Object.entries(NAMES)) {
        const query = `?name=${encodeURIComponent(name)}`;
        surprises.push(...(await judge(`a name that ${what}`, upload(query, 'text'), 'validation-failed')));
        const form = [
          '--frontier\r\n',
          `Content-Disposition: form-data; name="file"; filename="${name}"\r\n\r\n`,
          'text\r\n--frontier--\r\n',
        ].join('');
        const type = { 'content-type': 'multipart/form-data; boundary=frontier' };
        // A name that ends its own header leaves a form whose file has a name of its own, or none.
        if (what === 'ends a header') continue;
        surprises.push(
          ...(await judge(`a form's name that ${what}`, upload('', form, type), 'validation-failed')),
        );
      }
      surprises.push(...(await judge('no name', upload('', 'text'), 'validation-failed')));
      return surprises;
    });
  }, 60_000);

  test('that are only strange stay as they are, and are no header', async () => {
    const name = "naïve “quotes” %0d%0a; filename=evil.html '🦉'<b>.txt";
    const file = await must(
      upload(`?name=${encodeURIComponent(name)}`, 'text').then(async (response) => ({
        status: response.status,
        body: await response.json(),
      })),
      'upload',
    );
    expect(file.name).toBe(name);
    const headers = { authorization: `Bearer ${teacher.token}` };
    const response = await fetch(`${platform.url}/api/content/files/${file.id}/content?download=1`, {
      headers,
    });
    expect(await response.text()).toBe('text');
    const disposition = response.headers.get('content-disposition')!;
    expect(disposition.match(/filename="([^"]*)"/)?.[1]).not.toMatch(/[^\x20-\x7e]/);
    expect(decodeURIComponent(disposition.match(/filename\*=UTF-8''(\S+)$/)![1]!)).toBe(name);
    const gone = await fetch(`${platform.url}/api/content/files/${file.id}`, { method: 'DELETE', headers });
    expect(gone.status).toBe(204);
  });
});

const digest = (text: string): string => `sha-256=:${createHash('sha256').update(text).digest('base64')}:`;

describe('bytes', () => {
  test('none, others than announced, or in a form that is none', async () => {
    const form = 'multipart/form-data; boundary=frontier';
    const field = (name: string, rest = '') =>
      `--frontier\r\nContent-Disposition: form-data; name="${name}"${rest}\r\n\r\ntext\r\n`;
    const file = field('file', '; filename="a.txt"');
    const cases: [string, Record<string, string>, string, ProblemCode][] = [
      ['a file of zero bytes', {}, '', 'validation-failed'],
      ['another digest', { 'content-digest': digest('other') }, 'text', 'digest-mismatch'],
      ['a digest of another length', { 'content-digest': 'sha-256=:AAAA:' }, 'text', 'validation-failed'],
      ['a digest that is none', { 'content-digest': 'rubbish' }, 'text', 'validation-failed'],
      ['a compressed file', { 'content-encoding': 'gzip' }, 'text', 'unsupported-media-type'],
      ['a key that is none', { 'idempotency-key': 'a b' }, 'text', 'validation-failed'],
      ['a form without a boundary', { 'content-type': 'multipart/form-data' }, file, 'validation-failed'],
      ['a form that is none', { 'content-type': form }, 'text', 'validation-failed'],
      ['a form without a file', { 'content-type': form }, '--frontier--\r\n', 'validation-failed'],
      [
        'a form with a field',
        { 'content-type': form },
        `${field('x')}${file}--frontier--\r\n`,
        'validation-failed',
      ],
      [
        'a form with two files',
        { 'content-type': form },
        `${file}${file}--frontier--\r\n`,
        'validation-failed',
      ],
      ['a form that breaks off', { 'content-type': form }, file, 'validation-failed'],
      [
        'a form with another digest',
        { 'content-type': form, 'content-digest': digest('text') },
        `${file}--frontier--\r\n`,
        'digest-mismatch',
      ],
    ];
    await harmless(async () => {
      const surprises: string[] = [];
      for (const [title, headers, body, code] of cases)
        surprises.push(...(await judge(title, upload('?name=a.txt', body, headers), code)));
      return surprises;
    });
  }, 60_000);

  test('to places that are none, or not the caller’s', async () => {
    await harmless(async () => {
      const surprises: string[] = [];
      const places: [string, ...ProblemCode[]][] = [
        [`courseId=${crypto.randomUUID()}&visibility=course`, 'not-found'],
        ['courseId=x', 'validation-failed'],
        ['visibility=everybody', 'validation-failed'],
        ['visibility=course', 'validation-failed'],
        ['ownerId=x', 'validation-failed'],
      ];
      for (const [query, ...codes] of places)
        surprises.push(...(await judge(query, upload(`?name=a.txt&${query}`, 'text'), ...codes)));
      return surprises;
    });
  }, 60_000);

  const head = (rest: string) =>
    `POST /api/content/files?name=cut.bin HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${teacher.token}\r\nContent-Type: application/octet-stream\r\n${rest}\r\n\r\n`;
  const HALF = new Uint8Array(2 ** 20).fill(7);

  test('half of them, and the client goes', async () => {
    const chunk = (bytes: Uint8Array) =>
      Buffer.concat([Buffer.from(`${bytes.byteLength.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
    const halves: [string, Uint8Array][] = [
      [`Content-Length: ${2 * HALF.byteLength}`, HALF],
      ['Transfer-Encoding: chunked', chunk(HALF)],
      ['Transfer-Encoding: chunked', chunk(HALF).subarray(0, HALF.byteLength / 2)],
    ];
    await harmless(async () => {
      const surprises: string[] = [];
      for (const [framing, bytes] of halves) {
        const heard = await speakRaw(platform, (send, end) => {
          send(head(framing));
          send(bytes);
          setTimeout(end, 500);
        });
        if (heard.includes(' 201 ')) surprises.push(`${framing}: stored`);
      }
      return surprises;
    });
  }, 60_000);

  test('one a second: 408 after half a minute, and the next upload is welcome', async () => {
    await harmless(async () => {
      let timer: ReturnType<typeof setInterval> | undefined;
      const heard = await speakRaw(platform, (send) => {
        send(head('Content-Length: 1000000'));
        timer = setInterval(() => send('x'), 1_000);
      });
      clearInterval(timer);
      return faultsOf(parseRaw(heard), 'request-timeout');
    });
    const next = await fetch(`${platform.url}/api/content/files?name=next.txt`, {
      method: 'POST',
      headers: { authorization: `Bearer ${teacher.token}`, 'content-type': 'text/plain' },
      body: 'welcome',
    });
    expect(next.status).toBe(201);
  }, 60_000);
});

describe('ranges', () => {
  const TEXT = '0123456789'.repeat(10);
  /** Range header, status, and Content-Range (or undefined for none). */
  const RANGES: [string, number, string?][] = [
    ['bytes=0-9', 206, 'bytes 0-9/100'],
    ['bytes=90-', 206, 'bytes 90-99/100'],
    ['bytes=-10', 206, 'bytes 90-99/100'],
    ['bytes=-1000', 206, 'bytes 0-99/100'],
    ['bytes=0-99999999999999999999', 206, 'bytes 0-99/100'],
    ['bytes=0-0,50-50', 206],
    // None of it is there.
    ['bytes=100-', 416, 'bytes */100'],
    ['bytes=99999999999999999999-', 416, 'bytes */100'],
    ['bytes=-0', 416, 'bytes */100'],
    // Ways to wear us out (RFC 9110, 14.2).
    [`bytes=${'0-0,'.repeat(500)}1-1`, 416, 'bytes */100'],
    ['bytes=0-,0-,0-,0-', 416, 'bytes */100'],
    // What makes no sense is ignored.
    ['bytes=', 200],
    ['bytes=-', 200],
    ['bytes=9-0', 200],
    ['bytes=a-b', 200],
    ['bytes=-5-10', 200],
    ['bytes=--5', 200],
    ['bytes=0x0-0x9', 200],
    ['bytes=0-9-20', 200],
    ['bytes 0-9', 200],
    ['lines=0-9', 200],
    ['bytes=0-9;evil', 200],
    ['bytes=1.5-3', 200],
    ['none', 200],
  ];

  test('that make no sense', async () => {
    const { id } = (await (await upload('?name=digits.txt', TEXT)).json()) as { id: string };
    await settled();
    await harmless(async () => {
      for (const [range, status, contentRange] of RANGES) {
        const response = await fetch(`${platform.url}/api/content/files/${id}/content`, {
          headers: { authorization: `Bearer ${teacher.token}`, range },
        });
        const name = range.slice(0, 40);
        expect([name, response.status]).toEqual([name, status]);
        if (status === 416)
          expect(faultsOf(await replyOf(Promise.resolve(response.clone())), 'range-not-satisfiable')).toEqual(
            [],
          );
        expect([name, response.headers.get('content-range')]).toEqual([name, contentRange ?? null]);
        const text = await response.text();
        if (status === 200) expect([name, text]).toEqual([name, TEXT]);
        if (status === 206 && contentRange) {
          const [, from, to] = contentRange.match(/(\d+)-(\d+)/)!;
          expect([name, text]).toEqual([name, TEXT.slice(Number(from), Number(to) + 1)]);
        }
        if (status !== 200) expectDiscreet(text);
      }
      return [];
    });
  }, 60_000);

  test('links whose signature is none', async () => {
    const { items } = await must(teacher.api.get('/api/content/files'), 'files');
    const soon = Math.floor(Date.now() / 1000) + 600;
    await harmless(async () => {
      for (const query of [
        `expires=${soon}&signature=AAAA`,
        `expires=${soon}`,
        'signature=AAAA',
        'expires=NaN&signature=%00',
        `expires=1e99&signature=${'A'.repeat(43)}`,
      ]) {
        await expectRefused(
          fetch(`${platform.url}/api/content/files/${items[0].id}/content?${query}`),
          'not-found',
          'forbidden',
          'validation-failed',
        );
      }
      return [];
    });
  });
});
