import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { hashPassword } from '../../../shared/auth/passwords.ts';
import { newId } from '../../../shared/ids.ts';
import { startTestService, type TestService } from '../../../shared/testing/service.ts';
import { createAuth } from '../service.ts';
import type { AuthTables } from '../store/tables.ts';
import { insertUser } from '../store/users.ts';

let auth: TestService<AuthTables>;
let passwordHash: string;
beforeAll(async () => {
  auth = await startTestService(createAuth);
  passwordHash = await hashPassword(PASSWORD);
});
afterAll(() => auth.stop());

const PASSWORD = 'correct horse battery';
let counter = 0;

async function newUser(): Promise<{ id: string; email: string }> {
  const id = newId();
  const email = `owner${++counter}@school.example`;
  const user = { id, email, displayName: 'Ada', passwordHash, role: 'learner' as const, verified: true };
  await insertUser(auth.db, user);
  return { id, email };
}

/** As the gateway passes it on. */
const from = (address: string) => ({ 'x-forwarded-for': address });
const login = (email: string, password: string, address = '203.0.113.1') =>
  auth.call('POST', '/api/auth/login', { body: { email, password }, headers: from(address) });

const ATTACKER = '198.51.100.7';
async function guessTenTimes(email: string, address = ATTACKER): Promise<void> {
  const replies = await Promise.all(
    Array.from({ length: 10 }, (_, i) => login(email, `wrong password ${i}`, address)),
  );
  expect(replies.map((reply) => reply.body.code)).toEqual(Array(10).fill('invalid-credentials'));
}

describe('guessing passwords', () => {
  test('after ten wrong ones the account is closed to strangers, whatever their address, and says for how long', async () => {
    const { email } = await newUser();
    await guessTenTimes(email);
    const refused = await login(email, PASSWORD, '198.51.100.8');
    expect([refused.status, refused.body.code]).toEqual([429, 'rate-limited']);
    const wait = Number(refused.headers.get('retry-after'));
    expect(wait).toBeGreaterThan(60);
    expect(wait).toBeLessThanOrEqual(90);
    // An account that is not there is as closed: the answer says nothing about who has one.
    await guessTenTimes('ghost@school.example');
    expect((await login('ghost@school.example', PASSWORD)).status).toBe(429);
  });

  test('does not lock the owner out where they have signed in before', async () => {
    const { email } = await newUser();
    const home = '2001:db8:1:2::5';
    expect((await login(email, PASSWORD, home)).status).toBe(200);
    await guessTenTimes(email);
    expect((await login(email, PASSWORD, ATTACKER)).status).toBe(429);
    // The same subscriber, with the address of another day.
    expect((await login(email, PASSWORD, '2001:db8:1:2:ffff::1')).status).toBe(200);
    // A right password clears the account for everybody.
    await guessTenTimes(email);
    // From home one may guess no more often than others.
    await guessTenTimes(email, home);
    expect((await login(email, PASSWORD, home)).status).toBe(429);
  });

  test('a reset by mail opens the account again', async () => {
    const { email } = await newUser();
    await guessTenTimes(email);
    expect((await login(email, PASSWORD)).status).toBe(429);
    await auth.call('POST', '/api/auth/password/forgot', { body: { email } });
    const token = await mailedToken(email);
    const password = 'a brand new phrase';
    await auth.call('POST', '/api/auth/password/reset', { body: { token, password } });
    expect((await login(email, password)).status).toBe(200);
  });

  test('with a stolen access token is not easier', async () => {
    const { id, email } = await newUser();
    const thief = await auth.signIn({ userId: id });
    const change = (currentPassword: string) =>
      auth.call('POST', '/api/auth/password/change', {
        as: thief,
        body: { currentPassword, newPassword: 'a brand new phrase' },
        headers: from(ATTACKER),
      });
    for (let i = 0; i < 10; i++) expect((await change(`wrong ${i}`)).body.code).toBe('invalid-credentials');
    expect((await change(PASSWORD)).status).toBe(429);
    expect((await login(email, PASSWORD, ATTACKER)).status).toBe(429);
  });
});

async function mailedToken(to: string): Promise<string> {
  for (const deadline = Date.now() + 5_000; ; ) {
    const token = auth.mails.findLast((mail) => mail.to === to)?.text.match(/token: (\S+)/)?.[1];
    if (token) return token;
    if (Date.now() > deadline) throw new Error(`no mail to ${to}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
