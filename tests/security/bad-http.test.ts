import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { ProblemCode } from '../../shared/errors.ts';
import { Api, must } from '../support/people.ts';
import { assembleCast, type Cast, PLAYERS, type Player, type Scene, SPARE_PARTS, setScene } from './cast.ts';
import { fill, type OpenApi, type Operation, operationsOf } from './open-api.ts';
import {
  errorsLogged,
  expectRefused,
  faultsOf,
  parseRaw,
  replyOf,
  speakRaw,
  stored,
  unnoticed,
} from './refusals.ts';

/**
 * Bodies, ids, queries and headers that are no good, against every route of the OpenAPI document: each gets the
 * contract's problem, leaves nothing behind, says nothing about how we are made, and troubles nobody else.
 */

const LIFTS = /^DELETE .*\/(?:mutes|bans)\/\{userId\}$/;

let cast: Cast;
let scene: Scene;
let operations: Operation[];
let values: Record<string, string>;

beforeAll(async () => {
  cast = await assembleCast();
  scene = await setScene(cast);
  // The door of a webhook looks at its secret before anything else: bad-chat.test.ts.
  operations = operationsOf(
    (await must(new Api(cast.platform.url).get('/openapi.json'), 'openapi')) as OpenApi,
  ).filter(({ title }) => title !== 'POST /api/chat/webhooks/{webhookId}');
  const nobody = crypto.randomUUID();
  values = {
    ...scene,
    userId: cast.players.learnerEnrolled.id,
    sessionId: nobody,
    notificationId: nobody,
    deadLetterId: nobody,
    avatarId: nobody,
    ...Object.fromEntries(Object.keys(SPARE_PARTS).map((name) => [name, nobody])),
    token: cast.players.learnerEnrolled.token,
  };
}, 180_000);

afterAll(async () => {
  await cast?.platform.dispose();
}, 60_000);

/** Somebody who may make the call, so that the body or the id is the reason for a refusal. */
const callerOf = ({ expect: row }: Operation): Player =>
  PLAYERS.find((player) => row?.[player] === 'ok') ?? 'administrator';

function call(
  { method, path, choices }: Operation,
  player: Player | undefined,
  options: { ids?: Record<string, string>; query?: string; body?: BodyInit; type?: string } = {},
): Promise<Response> {
  const { ids = {}, query = '', body, type = 'application/json' } = options;
  return fetch(cast.platform.url + fill(path, { ...choices, ...values, ...ids }) + query, {
    method,
    redirect: 'manual',
    headers: {
      ...(player ? { authorization: `Bearer ${cast.players[player].token}` } : {}),
      ...(body === undefined ? {} : { 'content-type': type }),
    },
    ...(body === undefined ? {} : { body }),
  });
}

/** Runs the attack; nothing of what clients can see may change, and nobody may notice. */
async function harmless(attack: () => Promise<string[]>): Promise<void> {
  const { platform, players } = cast;
  const people = PLAYERS.map((player) => players[player]);
  const more = [
    `/api/content/courses/${scene.courseId}/lessons`,
    `/api/content/files?courseId=${scene.courseId}`,
    `/api/chat/rooms/${scene.roomId}/messages`,
  ];
  const users = async () => (await players.administrator.api.get('/api/auth/users?limit=100')).body;
  const before = [await stored(people, more), await users()];
  const surprises = await unnoticed(platform, players.courseTeacher, attack);
  expect(surprises).toEqual([]);
  expect([await stored(people, more), await users()]).toEqual(before);
  expect(await errorsLogged(platform)).toEqual([]);
}

/** Says the title beside each fault. */
async function judge(title: string, response: Promise<Response>, ...codes: ProblemCode[]): Promise<string[]> {
  const faults = faultsOf(await replyOf(response), ...codes);
  return faults.map((fault) => `${title}: ${fault}`);
}

const LEVELS = 200_000;
const bytes = (...parts: (string | number[])[]): Uint8Array =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))));

/** Bodies that are no good for any route. */
const BODIES: Record<string, string | Uint8Array> = {
  'cut JSON': '{"name": "a"',
  'no JSON': 'name=a&role=admin',
  'two objects': '{}{}',
  'a trailing comma': '{"a": 1,}',
  'JSON with NUL behind it': '{}\0',
  null: 'null',
  'a number': '42',
  'a string': '"text"',
  true: 'true',
  'an array': '[]',
  'an array of objects': '[{}]',
  'deep arrays': '['.repeat(LEVELS) + ']'.repeat(LEVELS),
  'deep objects': `${'{"a":'.repeat(LEVELS / 2)}1${'}'.repeat(LEVELS / 2)}`,
  'an object of nothing we know': JSON.stringify({ [crypto.randomUUID()]: 1 }),
  'a prototype': '{"__proto__": {"role": "admin"}, "constructor": {"prototype": {"role": "admin"}}}',
  'bytes that are no UTF-8': bytes('{"a": "', [0xff, 0xfe, 0xc3, 0x28], '"}'),
  'an overlong slash': bytes('{"a": "', [0xc0, 0xaf], '"}'),
  'half of a surrogate pair in UTF-8': bytes('{"a": "', [0xed, 0xa0, 0x80], '"}'),
  'UTF-16': Buffer.from('\ufeff{"a": 1}', 'utf16le'),
};

describe('bodies', () => {
  test('malformed JSON, bad UTF-8, wrong types at the top: 400', async () => {
    await harmless(async () => {
      const surprises: string[] = [];
      for (const operation of operations.filter(({ takesJson }) => takesJson)) {
        const caller = callerOf(operation);
        for (const [name, body] of Object.entries(BODIES)) {
          const response = call(operation, caller, { body: body as BodyInit });
          surprises.push(...(await judge(`${operation.title} with ${name}`, response, 'validation-failed')));
        }
        const form = { body: 'a=1', type: 'application/x-www-form-urlencoded' };
        surprises.push(
          ...(await judge(
            `${operation.title} with a form`,
            call(operation, caller, form),
            'unsupported-media-type',
          )),
        );
      }
      return surprises;
    });
  }, 120_000);

  test('unknown fields, and fields of a wrong type: 400 that names the field', async () => {
    await harmless(async () => {
      const surprises: string[] = [];
      for (const operation of operations.filter(({ sampleBody }) => sampleBody !== undefined)) {
        const sample = fill(operation.sampleBody, values) as Record<string, unknown>;
        const wrong: [string, string, unknown][] = [['an unknown field', '', { ...sample, isAdmin: true }]];
        for (const field of Object.keys(sample)) {
          for (const value of [{ $gt: '' }, [[[]]], 1e308, '\ud800', 'a\0b']) {
            // What is typed as a password is compared, whatever it is.
            if (typeof value === 'string' && /password/i.test(field)) continue;
            wrong.push([`${field} ${JSON.stringify(value)}`, field, { ...sample, [field]: value }]);
          }
        }
        for (const [name, field, body] of wrong) {
          const reply = await replyOf(call(operation, callerOf(operation), { body: JSON.stringify(body) }));
          const faults = faultsOf(reply, 'validation-failed');
          const { errors } = (faults.length > 0 ? {} : JSON.parse(reply.text)) as {
            errors?: { path: string }[];
          };
          if (
            faults.length === 0 &&
            !errors?.some(({ path }) => path.startsWith(`body${field && '.'}${field}`))
          )
            faults.push(`does not name ${field}: ${JSON.stringify(errors)}`);
          surprises.push(...faults.map((fault) => `${operation.title} with ${name}: ${fault}`));
        }
      }
      return surprises;
    });
  }, 120_000);

  test('what is required and missing is said to be required', async () => {
    const { api } = cast.players.courseTeacher;
    const { status, body } = await api.post('/api/content/courses', {});
    expect([status, body.errors]).toEqual([400, [{ path: 'body.title', message: 'required' }]]);
  });

  test('10 MB of JSON: 413, declared or not, valid or not', async () => {
    const large = JSON.stringify({ title: 'x'.repeat(10_000_000) });
    await harmless(async () => {
      const surprises: string[] = [];
      for (const operation of operations.filter(({ takesJson }) => takesJson)) {
        const response = call(operation, callerOf(operation), { body: large });
        surprises.push(...(await judge(operation.title, response, 'too-large')));
      }
      const streamed = () =>
        new ReadableStream<Uint8Array>({
          pull(controller) {
            controller.enqueue(new Uint8Array(65_536).fill(0x20));
          },
        });
      const endless = operations.find(({ title }) => title === 'POST /api/content/courses')!;
      surprises.push(
        ...(await judge(
          'without a length and an end',
          call(endless, 'courseTeacher', { body: streamed() }),
          'too-large',
        )),
      );
      return surprises;
    });
  }, 120_000);

  test('a body that breaks off is no request', async () => {
    const { token } = cast.players.courseTeacher;
    const head = `POST /api/content/courses HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\n`;
    await harmless(async () => {
      for (const framing of [
        'Content-Length: 40\r\n\r\n{"title": "Cut"}',
        'Transfer-Encoding: chunked\r\n\r\n10\r\n{"title": "Cut"}\r\n',
      ]) {
        await speakRaw(cast.platform, (send, end) => {
          send(head + framing);
          setTimeout(end, 200);
        });
      }
      return [];
    });
  });
});

const BAD_IDS = [
  'x',
  '0',
  '-1',
  'null',
  'me%20',
  '%F0%9F%A6%89',
  '%FF%FE',
  "1'%20or%20'1'='1",
  '%24%7Bjndi:ldap:x%7D',
  '00000000-0000-0000-0000-00000000000g',
  '00000000-0000-7000-8000-000000000000%0a',
  'a'.repeat(8_000),
];

describe('ids', () => {
  test('that are none: 400 or 404', async () => {
    await harmless(async () => {
      const surprises: string[] = [];
      for (const operation of operations) {
        for (const name of operation.path.match(/(?<=\{)\w+/g) ?? []) {
          for (const id of BAD_IDS) {
            const body = bodyOf(operation);
            const response = call(operation, callerOf(operation), { ids: { [name]: id }, ...body });
            const title = `${operation.title} with ${id.slice(0, 40)}`;
            surprises.push(...(await judge(title, response, 'validation-failed', 'not-found')));
          }
        }
      }
      return surprises;
    });
  }, 120_000);

  test('that nobody has: 404', async () => {
    await harmless(async () => {
      const surprises: string[] = [];
      for (const operation of operations) {
        const names = operation.path.match(/(?<=\{)\w*Id(?=\})/g) ?? [];
        for (const id of [crypto.randomUUID(), '00000000-0000-0000-0000-000000000000']) {
          for (const name of names) {
            // Lifting what is not there leaves what was asked for: whoever lifts may not know who has left.
            if (name === 'userId' && LIFTS.test(operation.title)) continue;
            const response = call(operation, callerOf(operation), {
              ids: { [name]: id },
              ...bodyOf(operation),
            });
            // Where nobody at all is let in, that may be said first.
            const refused = operation.expect?.administrator ?? 'ok';
            const codes: ProblemCode[] = refused === 'ok' ? ['not-found'] : ['not-found', refused];
            surprises.push(...(await judge(`${operation.title} with ${id}`, response, ...codes)));
          }
        }
      }
      return surprises;
    });
  }, 120_000);

  test('of things that are somebody else’s: refused', async () => {
    const { courseTeacher, otherTeacher, learnerNotEnrolled, learnerEnrolled } = cast.players;
    const { fileId, courseId, lessonId, roomId, messageId } = scene;
    const own = await must(otherTeacher.api.post('/api/content/courses', { title: 'Mine' }), 'course');
    const memberIds = [learnerNotEnrolled.id];
    const group = await must(
      otherTeacher.api.post('/api/chat/rooms', { kind: 'group', name: 'Ours', memberIds }),
      'room',
    );
    const { items: sessions } = await must(learnerEnrolled.api.get('/api/auth/sessions'), 'sessions');
    const { items: notes } = await must(courseTeacher.api.get('/api/notifications'), 'notifications');
    const message = { clientId: 'foreign', body: 'Hello' };
    const calls: [string, string, unknown?][] = [
      ['GET', `/api/content/files/${fileId}`],
      ['GET', `/api/content/files/${fileId}/content`],
      ['DELETE', `/api/content/files/${fileId}`],
      ['POST', `/api/content/files/${fileId}/links`, { expiresIn: 60 }],
      ['PATCH', `/api/content/courses/${courseId}`, { title: 'Taken' }],
      ['POST', `/api/content/courses/${courseId}/lessons`, { title: 'Slipped in', kind: 'text' }],
      ['DELETE', `/api/content/lessons/${lessonId}`],
      ['POST', `/api/content/courses/${own.id}/lessons`, { title: 'A', kind: 'file', fileIds: [fileId] }],
      ['POST', `/api/content/files?name=a.txt&courseId=${courseId}&visibility=course`, 'text'],
      ['DELETE', `/api/auth/sessions/${sessions[0].id}`],
      ['PUT', `/api/notifications/${notes[0].id}/read`],
      ['GET', `/api/chat/rooms/${roomId}/messages`],
      ['POST', `/api/chat/rooms/${roomId}/messages`, message],
      ['PUT', `/api/chat/rooms/${roomId}/read`, { seq: 1 }],
      ['POST', `/api/chat/rooms/${roomId}/members`, { memberIds: [otherTeacher.id] }],
      ['DELETE', `/api/chat/rooms/${roomId}/members/${learnerEnrolled.id}`],
      ['POST', `/api/chat/rooms/${group.id}/messages`, { ...message, replyTo: messageId }],
      ['POST', `/api/chat/rooms/${group.id}/messages`, { ...message, attachments: [{ fileId }] }],
      ['POST', '/api/chat/rooms', { kind: 'direct', memberIds: [crypto.randomUUID()] }],
      ['POST', '/api/chat/rooms', { kind: 'direct', memberIds: [otherTeacher.id] }],
      ['GET', `/api/analytics/reports/courses/${courseId}/overview`],
    ];
    await harmless(async () => {
      const surprises: string[] = [];
      for (const [method, path, body] of calls) {
        const response = fetch(cast.platform.url + path, {
          method,
          headers: {
            authorization: `Bearer ${otherTeacher.token}`,
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
        const title = `${method} ${path} ${JSON.stringify(body) ?? ''}`;
        surprises.push(...(await judge(title, response, 'not-found', 'forbidden', 'validation-failed')));
      }
      return surprises;
    });
  }, 60_000);
});

const BAD_QUERIES = [
  'limit=0',
  'limit=101',
  'limit=-1',
  'limit=1.5',
  'limit=abc',
  'limit=1&limit=2',
  'limit=',
  'limit[$gt]=1',
  'cursor=',
  'cursor=rubbish',
  `cursor=${Buffer.from('["2020","x"]').toString('base64url')}`,
  `cursor=${Buffer.from('{"__proto__":1}').toString('base64url')}`,
  `cursor=${'A'.repeat(5_000)}`,
  'unheard=of',
  '__proto__=1',
];

describe('queries and headers', () => {
  test('of lists, that make no sense: 400', async () => {
    await harmless(async () => {
      const surprises: string[] = [];
      const lists = operations.filter(({ isList }) => isList);
      expect(lists.length).toBeGreaterThan(6);
      for (const operation of lists) {
        const needed = operation.query.map((name) => `&${name}=the`).join('');
        for (const query of BAD_QUERIES) {
          const response = call(operation, callerOf(operation), { query: `?${query}${needed}` });
          surprises.push(
            ...(await judge(`${operation.title}?${query.slice(0, 60)}`, response, 'validation-failed')),
          );
        }
      }
      return surprises;
    });
  }, 60_000);

  test('an Idempotency-Key that is none: 400', async () => {
    await harmless(async () => {
      for (const key of [' ', 'a b', 'k'.repeat(201), 'schl\u00fcssel']) {
        await expectRefused(
          fetch(`${cast.platform.url}/api/content/courses`, {
            method: 'POST',
            headers: {
              authorization: `Bearer ${cast.players.courseTeacher.token}`,
              'content-type': 'application/json',
              'idempotency-key': key,
            },
            body: '{"title": "Never"}',
          }),
          'validation-failed',
        );
      }
      return [];
    });
  });

  test('an X-Request-Id that is none is replaced', async () => {
    for (const id of ['a b', '<script>', 'x'.repeat(500), '../../etc/passwd']) {
      const { headers } = await expectRefused(
        fetch(`${cast.platform.url}/api/chat/rooms`, { headers: { 'x-request-id': id } }),
        'unauthenticated',
      );
      expect(headers.get('x-request-id')).not.toBe(id);
    }
  });

  test('a client that sends one byte a second gets 408 after a quarter of a minute', async () => {
    const { token } = cast.players.courseTeacher;
    await harmless(async () => {
      let timer: ReturnType<typeof setInterval> | undefined;
      const heard = await speakRaw(cast.platform, (send) => {
        send(
          `POST /api/content/courses HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n`,
        );
        timer = setInterval(() => send(' '), 1_000);
      });
      clearInterval(timer);
      return faultsOf(parseRaw(heard), 'request-timeout');
    });
  }, 45_000);
});

/** A body with which the call would be valid, were it not for what the test changes. */
function bodyOf({ method, takesJson, sampleBody, rawType }: Operation): { body?: BodyInit; type?: string } {
  if (takesJson && sampleBody !== undefined) return { body: JSON.stringify(fill(sampleBody, values)) };
  return rawType && method !== 'GET' ? { body: 'text', type: rawType } : {};
}
