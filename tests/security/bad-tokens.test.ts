import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createHmac, createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { join } from 'node:path';
import { allKeys } from '../../services/auth/store/signing-keys.ts';
import type { AuthTables } from '../../services/auth/store/tables.ts';
import { openPglite } from '../../shared/adapters/database/pglite.ts';
import type { ProblemCode } from '../../shared/errors.ts';
import { Api, ask, connect, must, newPerson, type Person } from '../support/people.ts';
import { assembleCast, type Cast, claimsOf, setScene } from './cast.ts';
import { errorsLogged, expectRefused, stored, unnoticed } from './refusals.ts';

/** Tokens that are expired, forged or for somebody else, at every door; and roles that change under a session. */

let cast: Cast;
/** The platform's own, so that what is wrong with a token is what the test says, and not its signature. */
let genuine: { kid: string; key: KeyObject };

beforeAll(async () => {
  cast = await assembleCast(async ({ dataDir }) => {
    const server = await openPglite(join(dataDir, 'postgres'));
    try {
      const [row] = await allKeys(await server.database<AuthTables>('auth'));
      genuine = {
        kid: row!.kid,
        key: createPrivateKey({ key: row!.private_jwk as JsonWebKey, format: 'jwk' }),
      };
    } finally {
      await server.close();
    }
  });
  // So that the bystander has a room to be in.
  await setScene(cast);
}, 180_000);

afterAll(async () => {
  await cast?.platform.dispose();
}, 60_000);

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** An administrator's token, as auth would make it. */
function token(
  options: { claims?: object; header?: object; key?: KeyObject; signature?: (input: string) => string } = {},
): string {
  const header = { alg: 'EdDSA', typ: 'JWT', kid: genuine.kid, ...options.header };
  const claims = { ...claimsOf(cast.players.administrator.id), ...options.claims };
  const input = `${part(header)}.${part(claims)}`;
  const ownSignature = (text: string): string =>
    sign(null, Buffer.from(text), options.key ?? genuine.key).toString('base64url');
  return `${input}.${(options.signature ?? ownSignature)(input)}`;
}

/** Each with what is wrong with it, and nothing else. */
function badTokens(): Record<string, [string, ProblemCode]> {
  const now = Math.floor(Date.now() / 1000);
  const own = generateKeyPairSync('ed25519');
  const bad = (claims: object): [string, ProblemCode] => [token({ claims }), 'unauthenticated'];
  const forged = (options: Parameters<typeof token>[0]): [string, ProblemCode] => [
    token(options),
    'unauthenticated',
  ];
  const whole = token();
  return {
    'that auth let run out': [cast.expiredToken, 'token-expired'],
    'that ran out a minute ago': [token({ claims: { iat: now - 660, exp: now - 60 } }), 'token-expired'],
    'for another audience': bad({ aud: 'elsewhere' }),
    'for other audiences': bad({ aud: ['elsewhere', 'nowhere'] }),
    'without an audience': bad({ aud: undefined }),
    'of another issuer': bad({ iss: 'https://elsewhere.example' }),
    'that never ends': bad({ exp: undefined }),
    'whose end is a text': bad({ exp: 'never' }),
    'that is not valid yet': bad({ nbf: now + 600 }),
    'without a session': bad({ sid: undefined }),
    'with a role that is none': bad({ role: 'root' }),
    'with two roles': bad({ role: ['learner', 'admin'] }),
    'of nobody': bad({ sub: '' }),
    'of a subject that is no id': bad({ sub: "x' or '1'='1" }),
    'signed with a key of one’s own': forged({ key: own.privateKey }),
    'with its key beside it': forged({
      key: own.privateKey,
      header: { jwk: own.publicKey.export({ format: 'jwk' }), kid: 'own' },
    }),
    'with an address of keys': forged({
      key: own.privateKey,
      header: { jku: `${cast.platform.url}/.well-known/jwks.json`, kid: '../own' },
    }),
    'alg none': forged({ header: { alg: 'none' }, signature: () => '' }),
    'alg nOnE with a signature': forged({ header: { alg: 'nOnE' } }),
    'the key id as HMAC secret': forged({
      header: { alg: 'HS256' },
      signature: (input) => createHmac('sha256', genuine.kid).update(input).digest('base64url'),
    }),
    'with a critical header that nobody knows': forged({ header: { crit: ['x'], x: 1 } }),
    'with another’s signature': [
      `${token({ claims: { name: 'Somebody' } })
        .split('.')
        .slice(0, 2)
        .join('.')}.${whole.split('.')[2]}`,
      'unauthenticated',
    ],
    'cut short': [whole.slice(0, -8), 'unauthenticated'],
    'of one part': ['x', 'unauthenticated'],
    'of 5,000 characters': [`${'x'.repeat(2_500)}.${'y'.repeat(2_500)}.z`, 'unauthenticated'],
    'of a prototype': [`${part({ alg: 'EdDSA', kid: '__proto__' })}.${part({})}.AA`, 'unauthenticated'],
  };
}

describe('tokens', () => {
  test('the one that all bad ones are made from is good', async () => {
    const reply = await new Api(cast.platform.url).as(token()).get('/api/chat/rooms');
    expect(reply.status).toBe(200);
  });

  test('bad ones are refused at every service, and over the socket', async () => {
    const { platform, players } = cast;
    await unnoticed(platform, players.courseTeacher, async () => {
      for (const [name, [bad, code]] of Object.entries(badTokens())) {
        for (const path of ['auth/me', 'content/files', 'chat/rooms', 'profiles/me', 'notifications']) {
          const url = `${platform.url}/api/${path}`;
          const { headers, text } = await expectRefused(
            fetch(url, { headers: { authorization: `Bearer ${bad}` } }),
            code,
          );
          expect([name, headers.get('www-authenticate')]).toEqual([name, expect.stringContaining('Bearer')]);
          expect(text.includes(bad)).toBe(false);
        }
        const refused = await connect(platform, bad).then(
          (socket) => void socket.close(),
          (error: { data?: { code?: string } }) => error.data?.code,
        );
        expect([name, refused]).toEqual([name, code]);
      }
    });
    expect(await errorsLogged(platform)).toEqual([]);
  }, 60_000);

  test('bad ones write nothing', async () => {
    const { platform, players } = cast;
    const people = [players.administrator, players.courseTeacher];
    const before = await stored(people);
    for (const [bad, code] of Object.values(badTokens())) {
      const headers = { authorization: `Bearer ${bad}`, 'content-type': 'application/json' };
      const course = { method: 'POST', headers, body: '{"title": "Never"}' };
      await expectRefused(fetch(`${platform.url}/api/content/courses`, course), code);
      const file = { method: 'POST', headers, body: 'never' };
      await expectRefused(fetch(`${platform.url}/api/content/files?name=never.txt`, file), code);
    }
    expect(await stored(people)).toEqual(before);
  }, 60_000);

  test('an Authorization header that is none', async () => {
    const { platform, players } = cast;
    const { token: good } = players.courseTeacher;
    for (const header of ['Bearer', `Basic ${btoa('a:b')}`, good, `Bearer ${good} x`, `Bearer "${good}"`]) {
      await expectRefused(
        fetch(`${platform.url}/api/chat/rooms`, { headers: { authorization: header } }),
        'unauthenticated',
      );
    }
    // Nowhere else than in the header, where logs and histories would keep it.
    await expectRefused(fetch(`${platform.url}/api/chat/rooms?access_token=${good}`), 'unauthenticated');
    await expectRefused(
      fetch(`${platform.url}/api/chat/rooms`, { headers: { cookie: `access_token=${good}` } }),
      'unauthenticated',
    );
  });
});

interface Session {
  accessToken: string;
  refreshToken: string;
}

async function session({ email, password }: Person): Promise<Session> {
  return await must(new Api(cast.platform.url).post('/api/auth/login', { email, password }), 'login');
}

describe('a role that changes while its owner is signed in', () => {
  for (const [from, to] of [
    ['learner', 'teacher'],
    ['teacher', 'learner'],
  ] as const) {
    test(`${from} becomes ${to}: the old token is refused everywhere, the next one has the new role`, async () => {
      const { platform, players } = cast;
      const person = await newPerson(platform, `From ${from}`, from);
      const { accessToken, refreshToken } = await session(person);
      const old = new Api(platform.url).as(accessToken);
      const createCourse = (api: Api) => api.post('/api/content/courses', { title: 'A course' });
      const allowed = (role: string) => (role === 'teacher' ? 201 : 403);
      expect((await createCourse(old)).status).toBe(allowed(from));
      const socket = await connect(platform, accessToken);
      const closed = new Promise<'closed'>((resolve) => socket.once('disconnect', () => resolve('closed')));

      await unnoticed(platform, players.courseTeacher, async () => {
        await must(players.administrator.api.patch(`/api/auth/users/${person.id}`, { role: to }), 'change');
        for (const path of ['auth/me', 'content/courses?mine=true', 'chat/rooms', 'profiles/me']) {
          const headers = { authorization: `Bearer ${accessToken}` };
          await expectRefused(fetch(`${platform.url}/api/${path}`, { headers }), 'token-expired');
        }
        const refused = await createCourse(old);
        expect([refused.status, refused.body.code]).toEqual([401, 'token-expired']);
        const roomId = crypto.randomUUID();
        const ack = await Promise.race([closed, ask(socket, 'room:join', { roomId })]);
        if (ack !== 'closed') expect([ack.ok, ack.error.code]).toEqual([false, 'token-expired']);
      });
      socket.close();

      const renewed = await must(
        new Api(platform.url).post('/api/auth/refresh', { refreshToken }),
        'refresh',
      );
      expect(renewed.user.role).toBe(to);
      expect((await createCourse(new Api(platform.url).as(renewed.accessToken))).status).toBe(allowed(to));
      expect((await old.get('/api/chat/rooms')).status).toBe(401);
    }, 60_000);
  }

  test('an account that is disabled loses its tokens at once, and gets no new ones', async () => {
    const { platform, players } = cast;
    const person = await newPerson(platform, 'Soon Gone');
    const { accessToken, refreshToken } = await session(person);
    const socket = await connect(platform, accessToken);
    const closed = new Promise((resolve) => socket.once('disconnect', resolve));
    await must(
      players.administrator.api.patch(`/api/auth/users/${person.id}`, { disabled: true }),
      'disable',
    );
    const headers = { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' };
    await expectRefused(fetch(`${platform.url}/api/chat/rooms`, { headers }), 'unauthenticated');
    const post = (path: string, body: unknown) =>
      fetch(platform.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
    await expectRefused(post('/api/auth/refresh', { refreshToken }), 'unauthenticated', 'account-disabled');
    const { email, password } = person;
    await expectRefused(post('/api/auth/login', { email, password }), 'account-disabled');
    await closed;
    socket.close();
  }, 60_000);
});
