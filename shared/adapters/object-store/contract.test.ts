import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isUnavailable } from '../../errors.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { realServer } from '../../testing/servers.ts';
import { openFiles, pathOf, uploadsIn } from './files.ts';
import { openMinio } from './minio.ts';
import { partSize } from './multipart.ts';

// A first start of PGlite takes seconds, more on a busy machine.
setDefaultTimeout(60_000);

const MiB = 1024 * 1024;
const log = { warn: () => {}, info: () => {} };
const key = () => `tests/${crypto.randomUUID()}/file.bin`;

/** `size` bytes that depend on their place; `at` runs before each chunk. */
function bytes(
  size: number,
  chunk = 64 * 1024,
  at: (sent: number) => void | Promise<void> = () => {},
): ReadableStream<Uint8Array> {
  let sent = 0;
  return new ReadableStream({
    async pull(controller) {
      await at(sent);
      if (sent >= size) return controller.close();
      const piece = new Uint8Array(Math.min(chunk, size - sent));
      for (let i = 0; i < piece.length; i += 997) piece[i] = (sent + i) % 251;
      sent += piece.length;
      controller.enqueue(piece);
    },
  });
}
const digest = async (stream: ReadableStream<Uint8Array>) => {
  const { createHash } = await import('node:crypto');
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of stream) {
    hash.update(chunk);
    size += chunk.byteLength;
  }
  return { size, sha256: hash.digest('hex') };
};

interface Setup {
  store: ObjectStore;
  /** Interrupted uploads under a key that are still there. */
  leftovers(key: string): Promise<number>;
  close(): Promise<void>;
}

function contract(open: () => Promise<Setup>) {
  let setup: Setup;
  let store: ObjectStore;
  beforeAll(async () => {
    setup = await open();
    store = setup.store;
  });
  afterAll(async () => setup?.close());

  for (const [name, size] of [
    ['nothing', 0],
    ['one byte', 1],
    ['1 MiB', MiB],
    ['exactly one part', 8 * MiB],
    ['one part and a byte', 8 * MiB + 1],
    ['20 MiB', 20 * MiB],
  ] as const) {
    test(`keeps ${name}`, async () => {
      const name = key();
      expect(await store.put(name, bytes(size), { contentType: 'text/plain' })).toEqual({ size });
      expect(await store.size(name)).toBe(size);
      expect(await digest(await store.get(name))).toEqual(await digest(bytes(size)));
      await store.delete(name);
      expect(await store.size(name)).toBeUndefined();
    });
  }

  test('gives ranges, both ends included', async () => {
    const name = key();
    await store.put(name, new Response('0123456789').body!);
    const text = async (start: number, end: number) =>
      new Response(await store.get(name, { start, end })).text();
    expect(await text(0, 0)).toBe('0');
    expect(await text(3, 5)).toBe('345');
    expect(await text(8, 100)).toBe('89');
    await expect(store.get(name, { start: 10, end: 12 })).rejects.toMatchObject({
      code: 'range-not-satisfiable',
    });
    await store.delete(name);
  });

  test('says not-found, and deletes what is not there', async () => {
    const name = key();
    await expect(store.get(name)).rejects.toMatchObject({ code: 'not-found' });
    expect(await store.size(name)).toBeUndefined();
    await store.delete(name);
  });

  for (const size of [MiB, 40 * MiB]) {
    test(`a body of ${size / MiB} MiB that fails half way leaves nothing`, async () => {
      const name = key();
      const body = bytes(size, 64 * 1024, (sent) => {
        if (sent >= size / 2) throw new Error('the client went away');
      });
      await expect(store.put(name, body)).rejects.toThrow('the client went away');
      expect(await store.size(name)).toBeUndefined();
      expect(await setup.leftovers(name)).toBe(0);
    });

    test(`an aborted put of ${size / MiB} MiB ends at once, cancels its source and leaves nothing`, async () => {
      const name = key();
      const abort = new AbortController();
      let cancelled = false;
      const inner = bytes(size, 64 * 1024, async (sent) => {
        // Silent for ever from half way on
        if (sent >= size / 2) await new Promise(() => {});
      }).getReader();
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          const { value } = await inner.read();
          controller.enqueue(value!);
        },
        cancel() {
          cancelled = true;
        },
      });
      setTimeout(() => abort.abort(new Error('too slow')), 300);
      const started = performance.now();
      await expect(store.put(name, body, { signal: abort.signal })).rejects.toThrow('too slow');
      expect(performance.now() - started).toBeLessThan(2_000);
      expect(cancelled).toBe(true);
      expect(await store.size(name)).toBeUndefined();
      expect(await setup.leftovers(name)).toBe(0);
    });
  }

  test('a download that is cancelled half way frees everything', async () => {
    const name = key();
    await store.put(name, bytes(20 * MiB));
    for (let i = 0; i < 20; i++) {
      const reader = (await store.get(name)).getReader();
      await reader.read();
      await reader.cancel();
    }
    expect((await digest(await store.get(name))).size).toBe(20 * MiB);
    await store.delete(name);
  });

  test('streams 512 MiB both ways within bounded memory, slow readers included', async () => {
    const name = key();
    const base = process.memoryUsage().rss;
    let peak = 0;
    const watch = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss - base);
    }, 20);
    await store.put(
      name,
      bytes(512 * MiB, MiB, () => new Promise((resolve) => setImmediate(resolve))),
    );
    const reader = (await store.get(name)).getReader();
    await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 300));
    await reader.cancel();
    clearInterval(watch);
    console.log(`peak: ${Math.round(peak / MiB)} MiB above the start`);
    expect(peak).toBeLessThan(300 * MiB);
    await store.delete(name);
  }, 60_000);

  test('is ready', () => store.ready());
}

describe('files', () => {
  const dir = mkdtempSync(join(tmpdir(), 'lyceum-files-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  contract(async () => ({
    store: await openFiles(dir),
    leftovers: () => uploadsIn(dir),
    close: async () => {},
  }));

  test('no key escapes its folder', async () => {
    const store = await openFiles(dir);
    for (const bad of ['../x', 'a/../../x', '/etc/passwd', 'a//b', '', '.', 'a/.']) {
      await expect(store.put(bad, bytes(1))).rejects.toThrow('Not a key');
    }
    for (const odd of ['a\\..\\b', '=uploads/x', 'a\0b', '%2e%2e/x'])
      expect(pathOf(dir, odd).startsWith(dir)).toBe(true);
    await store.put('a', bytes(1));
    await store.put('a/b', bytes(2));
    expect([await store.size('a'), await store.size('a/b')]).toEqual([1, 2]);
  });

  test('what a killed process left is swept at the next start', async () => {
    await openFiles(dir);
    writeFileSync(join(dir, '=uploads', 'left'), 'x');
    await openFiles(dir);
    expect(await uploadsIn(dir)).toBe(0);
  });
});

const s3 = await realServer('s3');
describe.skipIf(s3 === undefined)('S3 (skipped without the real server)', () => {
  contract(async () => {
    const { Client } = await import('minio');
    const bucket = `test-${crypto.randomUUID()}`;
    const { hostname, port } = new URL(s3!.url);
    const client = new Client({
      endPoint: hostname,
      port: Number(port),
      useSSL: false,
      accessKey: s3!.accessKey,
      secretKey: s3!.secretKey,
    });
    const store = await openMinio({ ...s3!, bucket, log });
    return {
      store,
      // MinIO lists interrupted uploads only for the whole key.
      leftovers: async (name) => ((await client.findUploadId(bucket, name)) === undefined ? 0 : 1),
      close: async () => {
        await store.close();
        for await (const item of client.listObjectsV2(bucket, '', true))
          await client.removeObject(bucket, item.name!);
        await client.removeBucket(bucket);
      },
    };
  });
});

describe('S3 that is not well', () => {
  const open = (url: string) =>
    openMinio({ url, accessKey: 'a', secretKey: 'b'.repeat(8), bucket: 'none', log });

  test('away: opens, and refuses quickly', async () => {
    const store = await open('http://127.0.0.1:1');
    const started = performance.now();
    const calls = [
      store.ready(),
      store.get('x'),
      store.size('x'),
      store.put('x', bytes(1)),
      store.put('x', bytes(20 * MiB)),
      store.delete('x'),
    ];
    expect(
      await Promise.all(calls.map((call) => (call as Promise<unknown>).then(() => false, isUnavailable))),
    ).toEqual(calls.map(() => true));
    expect(performance.now() - started).toBeLessThan(3_000);
    await store.close();
  });

  test('frozen: it accepts and never answers', async () => {
    const mute = createServer(() => {}).listen(0);
    await new Promise((resolve) => mute.once('listening', resolve));
    const store = await open(`http://127.0.0.1:${(mute.address() as { port: number }).port}`);
    const started = performance.now();
    expect(await store.size('x').then(() => false, isUnavailable)).toBe(true);
    expect(performance.now() - started).toBeLessThan(12_000);
    await store.close();
    mute.close();
  }, 20_000);
});

test('parts grow so that 50 GiB fit into 10,000 of them', () => {
  let total = 0;
  for (let part = 1; part <= 10_000; part++) total += partSize(part);
  expect(total).toBeGreaterThan(50 * 1024 * MiB);
  expect(partSize(1)).toBe(8 * MiB);
});
