import { io, type Socket } from 'socket.io-client';
import { Api, eventually, must } from '../../deploy/demo/api.ts';
import type { TestPlatform } from './platform.ts';

export { Api, eventually, must };

export interface Person {
  id: string;
  email: string;
  password: string;
  token: string;
  api: Api;
}

let counter = 0;

/** Registers somebody, reads the mail, verifies and signs in: through the gateway, as a browser would. */
export async function newPerson(
  platform: TestPlatform,
  name: string,
  role: 'learner' | 'teacher' | 'admin' = 'learner',
): Promise<Person> {
  const api = new Api(platform.url);
  const email = `${name.toLowerCase().replace(/\W+/g, '.')}.${Date.now().toString(36)}${++counter}@school.example`;
  const password = 'a long enough phrase';
  const { user } = await must(
    api.post('/api/auth/register', { email, password, displayName: name }),
    'register',
  );
  const token = await mailedToken(platform, email);
  await must(api.post('/api/auth/email/verify', { token }), 'verify');
  if (role !== 'learner') {
    const admin = await signInAs(platform, 'admin');
    await must(admin.api.patch(`/api/auth/users/${user.id}`, { role }), 'change role');
  }
  return signIn(platform, email, password);
}

/** The token in the newest mail to somebody. */
export const mailedToken = (platform: TestPlatform, to: string): Promise<string> =>
  eventually(
    `a mail to ${to}`,
    async () => (await mailsTo(platform, to))[0]?.text.match(/token: (\S+)/)?.[1],
  );

export async function mailsTo(
  platform: TestPlatform,
  to: string,
): Promise<{ subject: string; text: string; html: string }[]> {
  const { items } = await must(
    new Api(platform.url).get(`/dev/mail.json?to=${encodeURIComponent(to)}`),
    'mails',
  );
  return items;
}

export async function signIn(platform: TestPlatform, email: string, password: string): Promise<Person> {
  const api = new Api(platform.url);
  const { accessToken, user } = await must(api.post('/api/auth/login', { email, password }), 'login');
  return { id: user.id, email, password, token: accessToken, api: api.as(accessToken) };
}

/** One of the demo accounts. */
export async function signInAs(
  platform: TestPlatform,
  role: 'teacher' | 'learner' | 'admin',
): Promise<Person> {
  const account = platform.accounts.find((candidate) => candidate.role === role);
  if (!account) throw new Error(`no demo account ${role}`);
  return signIn(platform, account.email, account.password);
}

/** An unmodified Socket.IO client on the gateway. Resolves when connected; rejects with the connect error. */
export async function connect(platform: TestPlatform, token: string, namespace = '/'): Promise<Socket> {
  const socket = io(platform.url + (namespace === '/' ? '' : namespace), {
    transports: ['websocket'],
    auth: { token },
    forceNew: true,
    reconnectionDelay: 200,
    reconnectionDelayMax: 500,
  });
  await new Promise<void>((resolve, reject) => {
    const refused = (error: Error): void => {
      socket.close();
      reject(error);
    };
    socket.once('connect_error', refused);
    socket.once('connect', () => {
      // Later ones are the client's own to try again after.
      socket.off('connect_error', refused);
      resolve();
    });
  });
  return socket;
}

// biome-ignore lint/suspicious/noExplicitAny: acks of many events
export const ask = (socket: Socket, event: string, body?: unknown): Promise<any> =>
  socket.timeout(10_000).emitWithAck(event, body);
