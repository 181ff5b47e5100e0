import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { CompiledQuery, Kysely, KyselyPlugin, QueryResult } from 'kysely';
import { sql } from 'kysely';
import { createChat } from '../../services/chat/service.ts';
import type { ChatTables } from '../../services/chat/store/tables.ts';
import { openGroup, person, startChat, type World } from '../../services/chat/test-school.ts';
import type { Message } from '../../shared/contracts/chat.ts';
import type { ServiceDeps } from '../../shared/service.ts';
import { type RunningService, startService } from '../../shared/service.ts';
import { type TcpProxy, tcpProxy } from '../../shared/testing/tcp-proxy.ts';
import { checkChat } from './chat-checker.ts';
import { findViolations, type History, type ViolationKind } from './chat-history.ts';
import { ChatStorm, type StormOptions, type StormView } from './chat-storm.ts';

setDefaultTimeout(240_000);

test('a cluster of two gateways and two chats keeps every promise, whatever breaks', async () => {
  const { violations, acknowledged } = await checkChat({
    messagesPerFault: 300,
    seed: 1,
    log: (line) => console.log(line),
  });
  expect(violations).toEqual([]);
  expect(acknowledged).toBeGreaterThanOrEqual(2_100);
});

type Deps = ServiceDeps<ChatTables>;

/** A database that says it has stored messages, but has not: every fourth time. */
function forgettingMessages(db: Kysely<ChatTables>): Kysely<ChatTables> {
  let count = 0;
  const forget = async <R>(query: CompiledQuery): Promise<QueryResult<R>> => {
    const tx = await db.startTransaction().execute();
    try {
      return await tx.executeQuery<R>(query);
    } finally {
      await tx.rollback().execute();
    }
  };
  const executor = replacing(db.getExecutor(), 'executeQuery', (query: CompiledQuery) => {
    const forgets = query.sql.includes('insert into messages') && ++count % 4 === 0;
    return forgets ? forget(query) : db.executeQuery(query);
  });
  return replacing(db, 'getExecutor', () => executor);
}

/** The same object, but for one of its methods. */
const replacing = <T extends object>(object: T, method: keyof T, instead: unknown): T =>
  new Proxy(object, {
    get(target, name) {
      if (name === method) return instead;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });

/** A database that never knows whether a client id was sent before. */
const withoutDuplicates: KyselyPlugin = {
  transformQuery: ({ node }) => node,
  transformResult: async ({ result }) => ({
    ...result,
    rows: result.rows.map((row) => ('sent_id' in row ? { ...row, sent_id: null } : row)),
  }),
};

/** A client as most write it first: joins again after each connect, and keeps what comes. */
const naive: StormOptions['reader'] = (io, url, { token }, roomIds): StormView => {
  const socket = io(url, {
    transports: ['websocket'],
    forceNew: true,
    auth: { token },
    reconnectionDelay: 50,
  });
  const kept: Message[] = [];
  socket.on('connect', () => {
    for (const roomId of roomIds) socket.emit('room:join', { roomId }, () => {});
  });
  socket.on('message', (message: Message) => kept.push(message));
  const of = (roomId: string) => kept.filter((message) => message.roomId === roomId);
  return {
    messages: of,
    told: (roomId) => of(roomId).map(({ seq }) => seq),
    has: () => true,
    close: () => socket.disconnect(),
  };
};

describe('the checker sees when a promise is broken', () => {
  let world: World;
  let service: RunningService;
  let way: TcpProxy;
  beforeAll(async () => {
    world = await startChat(1000);
  });
  afterAll(() => world.stop());

  /** A short storm on a chat process with these parts, over connections that are cut and lose answers. */
  async function storm(
    broken: (deps: Deps) => Deps,
    options: Pick<StormOptions, 'reader'> = {},
  ): Promise<History> {
    const deps = { ...world.deps, settings: { ...world.deps.settings, limitScale: 1000 } };
    service = await startService(await createChat(broken(deps)), deps, { hostname: '127.0.0.1', port: 0 });
    way = await tcpProxy(`http://127.0.0.1:${service.port}`);
    const users = [await person(world, 'Ann'), await person(world, 'Bob')];
    const roomId = await openGroup(world, users[0]!, [users[1]!]);
    let answers = 0;
    const storm = new ChatStorm(
      {
        people: users.map(({ userId, token }) => ({ id: userId, token })),
        roomIds: [roomId],
        addressOf: () => way.url,
        read: async (as, path) =>
          (await world.call('GET', path, { as: users.find(({ userId }) => userId === as.id)! })).body,
      },
      { seed: 3, writers: 4, readers: 2, losesAnswer: () => ++answers % 7 === 0, ...options },
    );
    try {
      await storm.start();
      for (let cut = 0; cut < 4; cut++) {
        await storm.untilAcknowledged(25, 60_000);
        way.cut();
      }
      await storm.untilAcknowledged(25, 60_000);
      return await storm.finish();
    } finally {
      storm.close();
      way.close();
      await service.stop(1_000);
    }
  }
  const kindsOf = (history: History) => new Set(findViolations(history).map(({ kind }) => kind));

  test('nothing is broken: nothing is found, until the history itself is damaged', async () => {
    const healthy = await storm((deps) => deps);
    expect(findViolations(healthy)).toEqual([]);
    const loseSixth = ({ stored }: History): void => {
      for (const messages of stored.values()) messages.splice(5, 1);
    };
    const damages: [ViolationKind, (history: History) => void][] = [
      ['number-gap', loseSixth],
      ['acknowledged-lost', loseSixth],
      ['never-sent', ({ sends }) => sends.splice(5, 1)],
      ['author-order', ({ sends }) => sends.reverse()],
      [
        'change-lost',
        ({ texts, stored }) => {
          const { id } = [...stored.values()][0]!.find(({ deletedAt }) => deletedAt === null)!;
          texts.set(id, { settled: 'something else', unsure: new Set() });
        },
      ],
      ['change-lost', ({ deletions }) => deletions.clear()],
      [
        'change-lost',
        ({ reactions }) => {
          for (const register of reactions.values()) register.settled = 'neither';
        },
      ],
      ['live-order', ({ live }) => live[0]!.messages.push(live[0]!.messages.at(-1)!)],
      ['live-order', ({ live }) => live.find(({ changes }) => changes.length > 1)!.changes.reverse()],
      ['view-order', ({ views }) => views[0]!.told.reverse()],
      ['view-differs', ({ views }) => views[0]!.messages.pop()],
      [
        'view-differs',
        ({ views }) => {
          views[0]!.messages[3] = { ...views[0]!.messages[3]!, body: 'something else' };
        },
      ],
    ];
    for (const [kind, damage] of damages) {
      const damaged = structuredClone(healthy);
      damage(damaged);
      expect([...kindsOf(damaged)]).toContain(kind);
    }
  });

  test('acknowledged before the commit', async () => {
    const kinds = kindsOf(await storm((deps) => ({ ...deps, db: forgettingMessages(deps.db) })));
    expect(kinds).toContain('acknowledged-lost');
    expect(kinds).toContain('view-differs');
  });

  test('a client that does not ask for what it has missed', async () => {
    const violations = findViolations(await storm((deps) => deps, { reader: naive }));
    expect(new Set(violations.map(({ kind }) => kind))).toEqual(new Set(['view-differs', 'view-order']));
    // The others, who ask, have everything.
    expect(violations.every(({ detail }) => detail.startsWith('reader'))).toBe(true);
  });

  test('no de-duplication by client id', async () => {
    // The table's own guard, too. The last test: the others need it.
    await sql`alter table messages drop constraint messages_room_id_author_id_client_id_key`.execute(
      world.db,
    );
    const kinds = kindsOf(await storm((deps) => ({ ...deps, db: deps.db.withPlugin(withoutDuplicates) })));
    expect(kinds).toContain('stored-twice');
  });
});
