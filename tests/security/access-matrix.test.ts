import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import type { Socket } from 'socket.io-client';
import { nightSky } from '../../deploy/demo/pictures.ts';
import { socketAccess } from '../../services/chat/socket.ts';
import { ACTORS, type Actor } from '../../shared/auth/access.ts';
import { CLIENT_EVENTS, type ClientEvent } from '../../shared/contracts/chat.ts';
import { Api, ask, connect, eventually, must } from '../support/people.ts';
import {
  assembleCast,
  type Cast,
  claimsOf,
  PLAYERS,
  type Player,
  type Scene,
  SPARE_PARTS,
  setScene,
  signInAgain,
  understudy,
  writeMessage,
} from './cast.ts';
import { fill, type OpenApi, type Operation, operationsOf } from './open-api.ts';

/**
 * Every route of the merged OpenAPI document and every socket event against seven kinds of caller. What each must
 * get stands beside the route's definition; this plays it through, on one running platform.
 */

let cast: Cast;
let operations: Operation[];
/** Ids that outlive a scene. */
let lasting: Record<string, string>;
/** The scene on stage. One that a call may have changed makes way for a fresh one. */
let stage: Promise<Scene> | undefined;

const scene = (): Promise<Scene> => {
  stage ??= setScene(cast);
  return stage;
};

beforeAll(async () => {
  cast = await assembleCast();
  const { courseTeacher, learnerEnrolled } = cast.players;
  operations = operationsOf(
    (await must(new Api(cast.platform.url).get('/openapi.json'), 'openapi')) as OpenApi,
  );
  await scene();
  lasting = {
    userId: learnerEnrolled.id,
    deadLetterId: crypto.randomUUID(),
    // The enrolment tells the teacher.
    notificationId: await eventually('a notification', async () => {
      const { items } = await must(courseTeacher.api.get('/api/notifications'), 'notifications');
      return items[0]?.id as string | undefined;
    }),
  };
}, 180_000);

afterAll(async () => {
  await stage?.catch(() => {});
  await cast?.platform.dispose();
}, 60_000);

async function putAvatar(player: Player): Promise<string> {
  const response = await fetch(`${cast.platform.url}/api/profiles/me/avatar`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${cast.players[player].token}`, 'content-type': 'image/png' },
    body: nightSky(64, 64) as BodyInit,
  });
  const { avatar } = (await response.json()) as { avatar: { small: string } };
  return avatar.small.match(/avatars\/([^/]+)/)![1]!;
}

const tokenOf = (actor: Actor): string | undefined => {
  if (actor === 'anonymous') return undefined;
  return actor === 'expired' ? cast.expiredToken : cast.players[actor].token;
};

/** Bodies that a sample can't know: they need somebody's secrets, or an address that nobody has. */
const BODIES: Record<string, () => Promise<unknown>> = {
  'POST /api/auth/register': async () => ({
    email: `${crypto.randomUUID()}@school.example`,
    password: 'a long enough phrase',
    displayName: 'New Person',
  }),
  'POST /api/auth/login': async () => {
    const { email, password } = cast.players.otherTeacher;
    return { email, password };
  },
  'POST /api/auth/refresh': async () => {
    const { email, password } = cast.players.otherTeacher;
    const { refreshToken } = await must(
      new Api(cast.platform.url).post('/api/auth/login', { email, password }),
      'login',
    );
    return { refreshToken };
  },
};

/** Calls that take the caller's own session or password away are made by somebody who can spare it. */
const UNDERSTUDIES: Record<string, (player: Player) => Promise<{ token: string }>> = {
  'POST /api/auth/logout': (player) => signInAgain(cast.platform, cast.players[player]),
  'POST /api/auth/password/change': (player) => understudy(cast.platform, player),
};

const isPlayer = (actor: Actor): actor is Player => (PLAYERS as Actor[]).includes(actor);

/** Makes the call as the actor. Resolves with `ok`, or the code of the refusal. */
async function play(operation: Operation, actor: Actor): Promise<string> {
  const values: Record<string, string> = { ...operation.choices, ...lasting, ...(await scene()) };
  if (operation.path.includes('{sessionId}')) values.sessionId = await spareSession('learnerEnrolled');
  for (const [name, make] of Object.entries(SPARE_PARTS)) {
    if (operation.path.includes(`{${name}}`))
      values[name] = await make(cast, await scene(), !operation.path.includes('{roomId}'));
  }
  if (operation.path.includes('{avatarId}')) values.avatarId = await putAvatar('learnerEnrolled');
  const query = new URLSearchParams(
    operation.query.map((name) => [name, operation.choices[name] ?? (name === 'name' ? 'notes.png' : 'the')]),
  );
  const spare = isPlayer(actor) ? UNDERSTUDIES[operation.title] : undefined;
  const token = spare ? (await spare(actor as Player)).token : tokenOf(actor);
  const sample = BODIES[operation.title]
    ? await BODIES[operation.title]!()
    : fill(operation.sampleBody, values);
  const body = operation.takesJson
    ? JSON.stringify(sample)
    : operation.rawType
      ? nightSky(32, 32)
      : undefined;
  const type = operation.takesJson ? 'application/json' : operation.rawType;
  const response = await fetch(
    `${cast.platform.url}${fill(operation.path, values)}${query.size > 0 ? `?${query}` : ''}`,
    {
      method: operation.method,
      redirect: 'manual',
      headers: {
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...(type && body ? { 'content-type': type } : {}),
      },
      ...(body === undefined ? {} : { body: body as BodyInit }),
    },
  );
  const text = await response.text();
  if (operation.method !== 'GET' && response.ok && /\{\w+\}/.test(operation.path)) stage = undefined;
  if (response.status < 400 || response.status === 409) return 'ok';
  const { code } = JSON.parse(text) as { code: string };
  // Where anybody is let in, a secret that is none (a made-up mail token) is no refusal of the caller.
  const open = ACTORS.every((one) => operation.expect?.[one] === 'ok');
  return open && response.status === 400 ? 'ok' : code;
}

/** The id of a session of the player's that nobody needs. */
async function spareSession(player: Player): Promise<string> {
  const { api } = await signInAgain(cast.platform, cast.players[player]);
  const { items } = await must(api.get('/api/auth/sessions?limit=100'), 'sessions');
  return items.find((session: { current: boolean }) => session.current).id;
}

describe('the access matrix', () => {
  test('has a row for every route, and a sample for every JSON body', () => {
    expect(operations.length).toBeGreaterThan(50);
    expect(operations.filter((operation) => !operation.expect).map(({ title }) => title)).toEqual([]);
    const withoutSample = operations.filter(
      ({ title, takesJson, sampleBody }) => takesJson && sampleBody === undefined && !BODIES[title],
    );
    expect(withoutSample.map(({ title }) => title)).toEqual([]);
  });

  test('is what every route does', async () => {
    const surprises: string[] = [];
    for (const operation of operations) {
      for (const actor of ACTORS) {
        const wanted = operation.expect?.[actor];
        if (wanted === undefined) continue;
        const got = await play(operation, actor).catch((error: unknown) => String(error));
        if (got !== wanted) surprises.push(`${operation.title} as ${actor}: ${got} instead of ${wanted}`);
      }
    }
    expect(surprises).toEqual([]);
  }, 300_000);

  test('holds against tokens that auth has not signed', async () => {
    const surprises: string[] = [];
    const someId = crypto.randomUUID();
    const spares = Object.fromEntries(Object.keys(SPARE_PARTS).map((name) => [name, someId]));
    const values = { ...lasting, ...spares, sessionId: someId, avatarId: someId, ...(await scene()) };
    const keyId = await publishedKeyId();
    for (const operation of operations) {
      if (operation.expect?.anonymous !== 'unauthenticated' && operation.expect?.expired !== 'token-expired')
        continue;
      const url = cast.platform.url + fill(operation.path, { ...operation.choices, ...values });
      await Promise.all(
        Object.entries(forgeries(keyId)).map(async ([kind, token]) => {
          const response = await fetch(url, {
            method: operation.method,
            headers: { authorization: `Bearer ${token}` },
          });
          const { code } = (await response.json().catch(() => ({ code: 'no problem' }))) as { code: string };
          if (code !== 'unauthenticated')
            surprises.push(`${operation.title} with ${kind}: ${response.status} ${code}`);
        }),
      );
    }
    expect(surprises).toEqual([]);
  }, 120_000);
});

describe('the access matrix of socket events', () => {
  test('has a row and a sample for every event', () => {
    expect(Object.keys(socketAccess).sort()).toEqual(Object.keys(CLIENT_EVENTS).sort());
    for (const name of eventNames()) expect([name, sampleOf(name)]).not.toEqual([name, undefined]);
  });

  test('is what every event does', async () => {
    const surprises: string[] = [];
    const sockets = {} as Record<Player, Socket>;
    for (const player of PLAYERS) sockets[player] = await connect(cast.platform, cast.players[player].token);
    try {
      for (const name of eventNames()) {
        const { expect: row } = socketAccess[name];
        for (const player of PLAYERS) {
          const got = await send(sockets[player], name, player);
          if (got !== row[player]) surprises.push(`${name} as ${player}: ${got} instead of ${row[player]}`);
        }
      }
    } finally {
      for (const socket of Object.values(sockets)) socket.close();
    }
    expect(surprises).toEqual([]);
  }, 60_000);

  test('lets nobody in without a token that is valid now, in either namespace', async () => {
    const tokens = {
      anonymous: '',
      expired: cast.expiredToken,
      ...forgeries(await publishedKeyId()),
    };
    for (const namespace of ['/', '/notifications']) {
      for (const [kind, token] of Object.entries(tokens)) {
        const refused = await connect(cast.platform, token, namespace).then(
          (socket) => {
            socket.close();
            return 'let in';
          },
          (error: { data?: { code?: string } }) => error.data?.code,
        );
        expect([namespace, kind, refused]).toEqual([
          namespace,
          kind,
          kind === 'expired' ? 'token-expired' : 'unauthenticated',
        ]);
      }
    }
    for (const name of eventNames()) {
      const { anonymous, expired } = socketAccess[name].expect;
      expect([name, anonymous, expired]).toEqual([name, 'unauthenticated', 'token-expired']);
    }
  }, 60_000);
});

const eventNames = (): ClientEvent[] => Object.keys(CLIENT_EVENTS) as ClientEvent[];

const sampleOf = (name: ClientEvent): unknown =>
  (CLIENT_EVENTS[name].meta()?.examples as unknown[] | undefined)?.[0];

async function send(socket: Socket, name: ClientEvent, player: Player): Promise<string> {
  const { roomId, ...ids } = await scene();
  const messageId = name.startsWith('message:')
    ? await writeMessage(cast.players.learnerEnrolled, roomId)
    : ids.messageId;
  const token = cast.players[player].token;
  const reply = await ask(
    socket,
    name,
    fill(sampleOf(name), { ...lasting, ...ids, roomId, messageId, token }),
  );
  return reply.ok ? 'ok' : reply.error.code;
}

async function publishedKeyId(): Promise<string> {
  const { keys } = await must(new Api(cast.platform.url).get('/.well-known/jwks.json'), 'keys');
  return keys[0].kid;
}

/** Tokens of an administrator as an attacker would make them (RFC 8725, 2.1). */
function forgeries(kid: string): Record<string, string> {
  const claims = claimsOf(cast.players.administrator.id);
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const unsigned = (header: object): string => `${part({ typ: 'JWT', kid, ...header })}.${part(claims)}`;
  const { privateKey } = generateKeyPairSync('ed25519');
  const own = unsigned({ alg: 'EdDSA' });
  const hmac = unsigned({ alg: 'HS256' });
  const genuine = cast.players.learnerEnrolled.token.split('.');
  return {
    'alg none': `${unsigned({ alg: 'none' })}.`,
    'a key of one’s own': `${own}.${sign(null, Buffer.from(own), privateKey).toString('base64url')}`,
    'the key id as HMAC secret': `${hmac}.${createHmac('sha256', kid).update(hmac).digest('base64url')}`,
    'another’s signature': `${genuine[0]}.${part(claims)}.${genuine[2]}`,
    rubbish: 'x.y.z',
  };
}
