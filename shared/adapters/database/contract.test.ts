import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Generated, type Insertable, type Kysely, sql } from 'kysely';
import { transaction } from '../../db/transaction.ts';
import { isUnavailable } from '../../errors.ts';
import { realServer } from '../../testing/servers.ts';
import { openPglite, type PgliteServer } from './pglite.ts';
import { openPostgres, preparePostgres } from './postgres.ts';

// A first start of PGlite takes seconds, more on a busy machine.
setDefaultTimeout(60_000);

interface Tables {
  things: {
    id: Generated<number>;
    big: number | null;
    price: string | null;
    at: Date | null;
    day: string | null;
    json: unknown;
    tags: (string | null)[] | null;
    ids: string[] | null;
    times: Date[] | null;
    flags: boolean[] | null;
    jsons: unknown[] | null;
    bytes: Uint8Array | null;
    yes: boolean | null;
  };
}

interface Setup {
  database(schema: string): Promise<Kysely<Tables>>;
  close(): Promise<void>;
}

const unique = () => `t${Math.random().toString(36).slice(2, 10)}`;

function contract(open: () => Promise<Setup>) {
  let setup: Setup;
  let db: Kysely<Tables>;
  let other: Kysely<Tables>;
  const mine = unique();

  beforeAll(async () => {
    setup = await open();
    db = await setup.database(mine);
    other = await setup.database(unique());
    await sql`create table things (
      id int8 generated always as identity primary key, big int8, price numeric(10, 2), at timestamptz, day date,
      json jsonb, tags text[], ids uuid[], times timestamptz[], flags boolean[], jsons jsonb[], bytes bytea, yes boolean
    )`.execute(db);
  });
  afterAll(() => setup?.close());

  const back = async (values: Insertable<Tables['things']>) => {
    const { id } = await db.insertInto('things').values(values).returning('id').executeTakeFirstOrThrow();
    return await db.selectFrom('things').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
  };

  test('plain values come back as they went in', async () => {
    const at = new Date('2026-02-28T23:59:59.123Z');
    const row = await back({
      big: 2 ** 40,
      price: '12.50',
      at,
      day: '2026-02-28',
      yes: true,
      bytes: new Uint8Array([0, 255, 7]),
    });
    expect(row).toMatchObject({ big: 2 ** 40, price: '12.50', at, day: '2026-02-28', yes: true });
    expect([...row.bytes!]).toEqual([0, 255, 7]);
    expect(row.json).toBeNull();
  });

  test('any JSON value is stored as itself', async () => {
    for (const json of [
      { a: [1, { b: null }] },
      [1, 'two'],
      [],
      'text',
      '{"not":"parsed"}',
      'null',
      7,
      true,
      false,
      [true],
    ]) {
      expect((await back({ json })).json).toEqual(json);
    }
    expect((await back({ json: null })).json).toBeNull();
    const { rows } = await sql<{ kind: string; text: string }>`
      select jsonb_typeof(${'a "quoted" string'}::jsonb) as kind, ${{ k: 'v' }}::jsonb ->> 'k' as text`.execute(
      db,
    );
    expect(rows[0]).toEqual({ kind: 'string', text: 'v' });
  });

  test('arrays, with null, quotes, braces and words that look like null', async () => {
    const tags = ['', 'a,b', '{x}', 'say "hi"', 'back\\slash', null, 'NULL', 'null', ' spaced '];
    const ids = ['0198c0de-0000-7000-8000-000000000001', '0198c0de-0000-7000-8000-000000000002'];
    const times = [new Date(0), new Date('2026-01-01T00:00:00.001Z')];
    const jsons = [{ a: 1 }, 'x', 5, true];
    expect(await back({ tags, ids, times, flags: [true, false], jsons })).toMatchObject({
      tags,
      ids,
      times,
      flags: [true, false],
      jsons,
    });
    expect((await back({ tags: [], ids: [] })).tags).toEqual([]);
    const { rows } = await sql<{
      n: number;
    }>`select n from unnest(${[1, 2, 3]}::int[]) as n where n = any(${[2, 3]}::int8[])`.execute(db);
    expect(rows.map((row) => row.n)).toEqual([2, 3]);
  });

  test('counts, timestamps without zone and parameters without context', async () => {
    const { rows } = await sql<{ count: number; at: Date; text: string }>`
      select count(*), timestamp '2026-01-02 03:04:05.5' as at, ${5}::text as text from generate_series(1, 3)`.execute(
      db,
    );
    expect(rows[0]).toEqual({ count: 3, at: new Date('2026-01-02T03:04:05.500Z'), text: '5' });
  });

  test('an undefined parameter is refused', async () => {
    await expect(sql`select ${undefined}::int`.execute(db)).rejects.toThrow('undefined');
  });

  test('says how many rows changed', async () => {
    const inserted = await db
      .insertInto('things')
      .values([{ big: -1 }, { big: -1 }, { big: -1 }])
      .executeTakeFirst();
    expect(inserted.numInsertedOrUpdatedRows).toBe(3n);
    const updated = await db
      .updateTable('things')
      .set({ price: '1' })
      .where('big', '=', -1)
      .executeTakeFirst();
    expect(updated.numUpdatedRows).toBe(3n);
    const deleted = await db.deleteFrom('things').where('big', '=', -1).executeTakeFirst();
    expect(deleted.numDeletedRows).toBe(3n);
    const returned = await sql`select 1 from generate_series(1, 4)`.execute(db);
    expect(returned.numAffectedRows).toBeUndefined();
  });

  test('errors carry the SQLSTATE, and one failed statement spoils nothing after it', async () => {
    await sql`create table only_one (id int primary key)`.execute(db);
    await sql`insert into only_one values (1)`.execute(db);
    await expect(sql`insert into only_one values (${1})`.execute(db)).rejects.toMatchObject({
      code: '23505',
    });
    await expect(sql`selec`.execute(db)).rejects.toMatchObject({ code: '42601' });
    await expect(sql`select ${'x'}::int`.execute(db)).rejects.toMatchObject({ code: '22P02' });
    expect((await sql`select 1 as one`.execute(db)).rows).toEqual([{ one: 1 }]);
  });

  test('a schema is closed to the others', async () => {
    await expect(sql`select * from ${sql.ref(`${mine}.things`)}`.execute(other)).rejects.toMatchObject({
      code: '42501',
    });
    await expect(sql`select * from things`.execute(other)).rejects.toMatchObject({ code: '42P01' });
    expect((await sql<{ u: string }>`select current_user as u`.execute(db)).rows[0]!.u).toBe(
      `lyceum_${mine}`,
    );
  });

  test('a transaction is kept whole or not at all', async () => {
    await transaction(db, async (tx) => {
      await tx.insertInto('things').values({ big: 501 }).execute();
      await tx.insertInto('things').values({ big: 501 }).execute();
    });
    await expect(
      transaction(db, async (tx) => {
        await tx.insertInto('things').values({ big: 501 }).execute();
        throw new Error('changed my mind');
      }),
    ).rejects.toThrow('changed my mind');
    expect(await db.selectFrom('things').select('big').where('big', '=', 501).execute()).toHaveLength(2);
  });

  test('a transaction whose failed statement was swallowed does not look committed', async () => {
    const work = transaction(db, async (tx) => {
      await tx.insertInto('things').values({ big: 502 }).execute();
      await sql`select 1 / 0`.execute(tx).catch(() => {});
    });
    await expect(work).rejects.toMatchObject({ code: '25P02' });
    expect(await db.selectFrom('things').select('big').where('big', '=', 502).execute()).toHaveLength(0);
  });

  test('isolation levels and savepoints', async () => {
    await db
      .transaction()
      .setIsolationLevel('serializable')
      .setAccessMode('read only')
      .execute(async (tx) => {
        expect((await sql`show transaction_isolation`.execute(tx)).rows).toEqual([
          { transaction_isolation: 'serializable' },
        ]);
      });
    await db.transaction().execute(async (tx) => {
      await sql`savepoint here`.execute(tx);
      await sql`select 1 / 0`.execute(tx).catch(() => sql`rollback to here`.execute(tx));
      await tx.insertInto('things').values({ big: 503 }).execute();
    });
    expect(await db.selectFrom('things').select('big').where('big', '=', 503).execute()).toHaveLength(1);
  });

  test('many at once, transactions among them, from two services', async () => {
    await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        i % 3 === 0
          ? transaction(db, (tx) => tx.insertInto('things').values({ big: 900 }).execute())
          : i % 3 === 1
            ? db.insertInto('things').values({ big: 900 }).execute()
            : sql`select 1`.execute(other),
      ),
    );
    expect(await db.selectFrom('things').select('big').where('big', '=', 900).execute()).toHaveLength(40);
  });

  test('concurrent transactions on one row lose no update', async () => {
    const { id } = await db.insertInto('things').values({ big: 0 }).returning('id').executeTakeFirstOrThrow();
    await Promise.all(
      Array.from({ length: 20 }, () =>
        transaction(db, async (tx) => {
          const row = await tx
            .selectFrom('things')
            .select('big')
            .where('id', '=', id)
            .forUpdate()
            .executeTakeFirstOrThrow();
          await tx
            .updateTable('things')
            .set({ big: row.big! + 1 })
            .where('id', '=', id)
            .execute();
        }),
      ),
    );
    expect(
      (await db.selectFrom('things').select('big').where('id', '=', id).executeTakeFirstOrThrow()).big,
    ).toBe(20);
  });
}

describe('PGlite', () => {
  contract(async () => {
    const server = await openPglite(undefined);
    return { database: (schema) => server.database<Tables>(schema), close: () => server.close() };
  });

  describe('its one connection', () => {
    let server: PgliteServer;
    let db: Kysely<Tables>;
    let other: Kysely<Tables>;
    beforeAll(async () => {
      server = await openPglite(undefined);
      db = await server.database('one');
      other = await server.database('two');
    });
    afterAll(() => server.close());

    test('the outer database inside a transaction is an error, not a hang, and the connection stays usable', async () => {
      const early = transaction(db, () => sql`select 1`.execute(db));
      await expect(early).rejects.toThrow('Pass `tx`');
      const late = transaction(db, async (tx) => {
        await sql`select 1`.execute(tx);
        await sql`select 1`.execute(db);
      });
      await expect(late).rejects.toThrow('Pass `tx`');
      expect((await sql`select 1 as one`.execute(db)).rows).toEqual([{ one: 1 }]);
    });

    test('others wait while a transaction is open, whatever they were started by', async () => {
      const gate = Promise.withResolvers<void>();
      const open = transaction(db, async (tx) => {
        await sql`select 1`.execute(tx);
        await gate.promise;
      });
      const waiting = Promise.all([
        sql`select 1`.execute(other),
        transaction(other, (tx) => sql`select 2`.execute(tx)),
      ]);
      setTimeout(gate.resolve, 50);
      await Promise.all([open, waiting]);
    });

    test('what a finished transaction left running may use the database', async () => {
      let later: Promise<unknown> | undefined;
      await transaction(db, async (tx) => {
        await sql`select 1`.execute(tx);
        later = new Promise((resolve) => setTimeout(resolve, 30)).then(() => sql`select 1`.execute(db));
      });
      await Promise.all([later, transaction(other, (tx) => sql`select pg_sleep(0.05)`.execute(tx))]);
    });

    test('after close, statements are refused as unavailable', async () => {
      const own = await openPglite(undefined);
      const gone = await own.database('gone');
      await own.close();
      expect(await sql`select 1`.execute(gone).catch(isUnavailable)).toBe(true);
    });
  });

  describe('its data directory', () => {
    const dir = mkdtempSync(join(tmpdir(), 'lyceum-pglite-'));
    afterAll(() => rmSync(dir, { recursive: true, force: true }));

    test('keeps what was acknowledged through kill -9, and is closed to a second process', async () => {
      const script = `
        const { openPglite } = await import(${JSON.stringify(new URL('./pglite.ts', import.meta.url).href)});
        const { sql } = await import('kysely');
        const db = await (await openPglite(${JSON.stringify(dir)})).database('crash');
        await sql\`create table if not exists rows (id int primary key, filler text)\`.execute(db);
        for (let id = 1; ; id++) {
          await sql\`insert into rows select coalesce(max(id), 0) + 1, repeat('x', 2000) from rows\`.execute(db);
          if (id % 10 === 0) console.log((await sql\`select max(id) as id from rows\`.execute(db)).rows[0].id);
        }`;
      let acknowledged = 0;
      for (let round = 0; round < 2; round++) {
        const child = spawn(process.execPath, ['-e', script], {
          cwd: import.meta.dirname,
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const exited = new Promise((resolve) => child.once('exit', resolve));
        await new Promise<void>((resolve, reject) => {
          child.once('exit', () => reject(new Error('the child ended by itself')));
          let looked: Promise<void> | undefined;
          let lines = 0;
          child.stdout.on('data', (text: Buffer) => {
            acknowledged = Number(text.toString().trim().split('\n').at(-1));
            looked ??= openPglite(dir).then(
              () => reject(new Error('two processes have it open')),
              (error: Error) => expect(error.message).toContain(`in use by process ${child.pid}`),
            );
            if (++lines > 8) looked.then(resolve, reject);
          });
        });
        child.kill('SIGKILL');
        await exited;
      }
      const server = await openPglite(dir);
      const db = await server.database('crash');
      const { rows } = await sql<{ count: number; max: number }>`select count(*), max(id) from rows`.execute(
        db,
      );
      expect(rows[0]!.max).toBeGreaterThanOrEqual(acknowledged);
      expect(rows[0]!.count).toBe(rows[0]!.max);
      await server.close();
      await (await openPglite(dir)).close();
    }, 60_000);
  });
});

const postgres = await realServer('postgres');

describe.skipIf(postgres === undefined)('PostgreSQL (skipped without the real server)', () => {
  const schemas: string[] = [];
  const open: Kysely<Tables>[] = [];
  const admin = () => openPostgres<Tables>({ url: postgres!.url, max: 2 });

  const database = async (schema: string, options: { max?: number } = {}) => {
    schemas.push(schema);
    await preparePostgres(postgres!.url, schema, "pass'word %@/:");
    const url = new URL(postgres!.url);
    url.username = `lyceum_${schema}`;
    url.password = encodeURIComponent("pass'word %@/:");
    const db = openPostgres<Tables>({ url: url.href, ...options });
    open.push(db);
    return db;
  };

  contract(async () => ({ database, close: async () => {} }));

  afterAll(async () => {
    await Promise.all(open.map((db) => db.destroy()));
    const db = admin();
    for (const schema of schemas) {
      await sql.raw(`drop schema if exists ${schema} cascade`).execute(db);
      await sql.raw(`drop owned by lyceum_${schema}`).execute(db);
      await sql.raw(`drop role lyceum_${schema}`).execute(db);
    }
    await db.destroy();
  });

  const terminate = async (schema: string) => {
    const db = admin();
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = ${`lyceum_${schema}`}`.execute(
      db,
    );
    await db.destroy();
  };

  test('can be prepared again and by several at once', async () => {
    const schema = unique();
    schemas.push(schema);
    await Promise.all(Array.from({ length: 4 }, () => preparePostgres(postgres!.url, schema, 'x')));
  });

  test('a lost connection rejects the statement on it as unavailable, and the next one works', async () => {
    const schema = unique();
    const db = await database(schema);
    await sql`select 1`.execute(db);
    const sleeping = sql`select pg_sleep(10)`.execute(db).then(() => false, isUnavailable);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await terminate(schema);
    expect(await sleeping).toBe(true);
    expect((await sql`select 1 as one`.execute(db)).rows).toEqual([{ one: 1 }]);
  });

  test('a transaction whose connection dies rejects, keeps nothing, and leaves the pool whole', async () => {
    const schema = unique();
    const db = await database(schema, { max: 3 });
    await sql`create table marks (id int)`.execute(db);
    for (const when of ['between', 'during']) {
      let killed: Promise<void> | undefined;
      const work = transaction(db, async (tx) => {
        await sql`insert into marks values (1)`.execute(tx);
        killed = new Promise((resolve) => setTimeout(resolve, 50)).then(() => terminate(schema));
        if (when === 'between') await killed.then(() => new Promise((resolve) => setTimeout(resolve, 100)));
        await sql`select pg_sleep(${when === 'between' ? 0 : 5})`.execute(tx).catch(() => {});
        await sql`insert into marks values (2)`.execute(tx);
      });
      expect(await work.then(() => 'committed', isUnavailable)).toBe(true);
      await killed;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect((await sql`select * from marks`.execute(db)).rows).toEqual([]);
    await Promise.all(
      Array.from({ length: 8 }, () => transaction(db, (tx) => sql`insert into marks values (3)`.execute(tx))),
    );
    expect((await sql`select * from marks`.execute(db)).rows).toHaveLength(8);
  });

  test('a server that is away refuses a crowd quickly', async () => {
    const db = openPostgres<Tables>({ url: 'postgres://nobody:x@127.0.0.1:1/none', max: 4 });
    const started = performance.now();
    const refused = await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        (i % 2 ? sql`select 1`.execute(db) : transaction(db, (tx) => sql`select 1`.execute(tx))).then(
          () => false,
          isUnavailable,
        ),
      ),
    );
    expect(refused.every(Boolean)).toBe(true);
    expect(performance.now() - started).toBeLessThan(2_000);
    await db.destroy();
  });

  test('a server that accepts and says nothing is given up after 5 s', async () => {
    const { createServer } = await import('node:net');
    const mute = createServer(() => {}).listen(0);
    await new Promise((resolve) => mute.once('listening', resolve));
    const { port } = mute.address() as { port: number };
    const db = openPostgres<Tables>({ url: `postgres://nobody:x@127.0.0.1:${port}/none` });
    const started = performance.now();
    const outcomes = await Promise.all(
      Array.from({ length: 30 }, () => sql`select 1`.execute(db).then(() => false, isUnavailable)),
    );
    expect(outcomes.every(Boolean)).toBe(true);
    expect(performance.now() - started).toBeLessThan(7_000);
    await db.destroy();
    mute.close();
  }, 20_000);
});
