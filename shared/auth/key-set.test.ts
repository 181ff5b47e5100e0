import { afterEach, describe, expect, test } from 'bun:test';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JWK } from 'jose';
import { openMemoryStore } from '../adapters/ephemeral-store/memory.ts';
import { isUnavailable } from '../errors.ts';
import { newTestKey } from '../testing/access-tokens.ts';
import { remoteKeys } from './key-set.ts';
import { createTokenVerifier } from './tokens.ts';

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const servers: Server[] = [];
const closeServers = () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
};
afterEach(closeServers);

/** What auth publishes; a test changes it under way. */
async function publish(keys: JWK[]) {
  const state = { keys, status: 200, delayMs: 0, asked: 0, url: '', body: undefined as string | undefined };
  const server = createServer((_, response) => {
    state.asked++;
    const body = state.body ?? JSON.stringify({ keys: state.keys });
    const { status } = state;
    setTimeout(
      () => response.writeHead(status, { 'content-type': 'application/json' }).end(body),
      state.delayMs,
    );
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  servers.push(server);
  state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/.well-known/jwks.json`;
  return state;
}

describe('the keys of auth', () => {
  test('are fetched once for all who wait, and then known without waiting', async () => {
    const key = await newTestKey();
    const auth = await publish([key.publicJwk]);
    const keys = remoteKeys(auth.url);
    expect(keys.known(key.kid)).toBeUndefined();
    const found = await Promise.all(Array.from({ length: 20 }, () => keys.find(key.kid)));
    expect(new Set(found).size).toBe(1);
    expect(keys.known(key.kid)).toBe(found[0]!);
    expect(auth.asked).toBe(1);
  });

  test('come from another replica of auth while one is away', async () => {
    const [old, next] = [await newTestKey(), await newTestKey()];
    const [one, two] = [await publish([old.publicJwk]), await publish([next.publicJwk, old.publicJwk])];
    const keys = remoteKeys([one.url, two.url], { cooldownMs: 10 });
    expect(await keys.find(old.kid)).toBeDefined();
    expect([one.asked, two.asked]).toEqual([1, 0]);
    one.status = 503;
    await sleep(20);
    expect(await keys.find(next.kid)).toBeDefined();
    expect([one.asked, two.asked]).toEqual([2, 1]);
    two.status = 503;
    await sleep(20);
    await expect(keys.find('new')).rejects.toMatchObject({ code: 'upstream-unavailable' });
  });

  test('an unknown id asks for them again, but no more often than every so often, however many there are', async () => {
    const [old, next] = [await newTestKey(), await newTestKey()];
    const auth = await publish([old.publicJwk]);
    const keys = remoteKeys(auth.url, { cooldownMs: 300 });
    await keys.find(old.kid);
    auth.keys = [next.publicJwk, old.publicJwk];
    const guesses = Array.from({ length: 200 }, (_, i) => keys.find(`made-up-${i}`));
    expect(new Set(await Promise.all(guesses))).toEqual(new Set([undefined]));
    expect(auth.asked).toBe(1);
    await sleep(320);
    await Promise.all([
      ...Array.from({ length: 200 }, (_, i) => keys.find(`made-up-${i}`)),
      keys.find(next.kid),
    ]);
    expect(auth.asked).toBe(2);
    expect(keys.known(next.kid)).toBeDefined();
  });

  test('are refreshed in the background when they are old, and nobody waits for that', async () => {
    const [old, next] = [await newTestKey(), await newTestKey()];
    const auth = await publish([old.publicJwk]);
    const keys = remoteKeys(auth.url, { freshMs: 50, cooldownMs: 10 });
    await keys.find(old.kid);
    auth.keys = [next.publicJwk, old.publicJwk];
    auth.delayMs = 150;
    await sleep(70);
    expect(keys.known(old.kid)).toBeDefined();
    expect(keys.known(next.kid)).toBeUndefined();
    await sleep(250);
    expect(keys.known(next.kid)).toBeDefined();
    expect(keys.withdrawals).toBe(0);
  });

  for (const [how, spoil] of [
    ['is down', closeServers],
    ['answers with an error', (auth) => Object.assign(auth, { status: 500 })],
    ['answers with nonsense', (auth) => Object.assign(auth, { body: '<html>' })],
    ['publishes no key at all', (auth) => Object.assign(auth, { keys: [] })],
  ] as [string, (auth: Awaited<ReturnType<typeof publish>>) => unknown][]) {
    test(`go on being used while auth ${how}; whether an unknown id is genuine can't be told then`, async () => {
      const [key, next] = [await newTestKey(), await newTestKey()];
      const auth = await publish([key.publicJwk]);
      const keys = remoteKeys(auth.url, { freshMs: 20, cooldownMs: 10, retryMs: 10 });
      await keys.find(key.kid);
      spoil(auth);
      await sleep(40);
      expect(keys.known(key.kid)).toBeDefined();
      await sleep(40);
      expect(keys.known(key.kid)).toBeDefined();
      expect(await keys.find(next.kid).then(() => false, isUnavailable)).toBe(true);
      expect(keys.withdrawals).toBe(0);
    });
  }

  test('others than Ed25519 signing keys are passed over', async () => {
    const key = await newTestKey();
    const auth = await publish([
      { kty: 'oct', k: 'c2VjcmV0', kid: 'shared', alg: 'HS256' },
      { kty: 'OKP', crv: 'X25519', x: key.publicJwk.x!, kid: 'for-encryption' },
      { ...key.publicJwk, kid: undefined as never },
      key.publicJwk,
    ]);
    const keys = remoteKeys(auth.url);
    expect(await keys.find(key.kid)).toBeDefined();
    for (const kid of ['shared', 'for-encryption', '', 'undefined']) expect(keys.known(kid)).toBeUndefined();
  });
});

describe('a rotation', () => {
  test('passes without a refused token: the new key is published, then signs, then the old one goes', async () => {
    const [old, next] = [await newTestKey(), await newTestKey()];
    const auth = await publish([old.publicJwk]);
    const keys = remoteKeys(auth.url, { freshMs: 100, cooldownMs: 50 });
    const tokens = createTokenVerifier(keys, openMemoryStore());
    // One busy process, and one that has been idle since before the rotation.
    const idle = createTokenVerifier(
      remoteKeys(auth.url, { freshMs: 1e9, cooldownMs: 50 }),
      openMemoryStore(),
    );
    await idle.verify(await old.sign());

    let signing = old;
    let stop = false;
    const refused: unknown[] = [];
    let accepted = 0;
    const traffic = (async () => {
      const held = await old.sign();
      while (!stop) {
        await Promise.all([tokens.verify(await signing.sign()), tokens.verify(held)]).then(
          () => accepted++,
          (error) => refused.push(error),
        );
        await sleep(5);
      }
    })();
    await sleep(100);
    auth.keys = [next.publicJwk, old.publicJwk];
    await sleep(200);
    signing = next;
    await idle.verify(await next.sign());
    await sleep(200);
    stop = true;
    await traffic;
    expect(refused).toEqual([]);
    expect(accepted).toBeGreaterThan(10);
    await Promise.all([tokens.close(), idle.close()]);
  });

  test('a key that is withdrawn takes its tokens with it, those that were accepted before too', async () => {
    const [stolen, next] = [await newTestKey(), await newTestKey()];
    const auth = await publish([stolen.publicJwk, next.publicJwk]);
    const keys = remoteKeys(auth.url, { freshMs: 50, cooldownMs: 20 });
    const tokens = createTokenVerifier(keys, openMemoryStore());
    const bad = `Bearer ${await stolen.sign()}`;
    const good = `Bearer ${await next.sign()}`;
    await Promise.all([tokens.fromHeader(bad), tokens.fromHeader(good)]);
    expect(tokens.knownHeader(bad)).toBeDefined();
    auth.keys = [next.publicJwk];
    for (let turn = 0; turn < 40; turn++) {
      tokens.knownHeader(bad);
      await sleep(25);
    }
    expect(tokens.knownHeader(bad)).toBeUndefined();
    expect(await tokens.fromHeader(bad).catch((error) => error.code)).toBe('unauthenticated');
    expect((await tokens.fromHeader(good))?.role).toBe('learner');
    await tokens.close();
  });
});
