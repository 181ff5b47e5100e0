import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Kysely, sql } from 'kysely';
import { openPglite } from '../adapters/database/pglite.ts';
import { openPostgres, preparePostgres } from '../adapters/database/postgres.ts';
import { newId } from '../ids.ts';
import { realServer } from '../testing/servers.ts';
import type { Migration } from './kernel.ts';
import { migrate } from './migrate.ts';

type Db = Kysely<Record<string, never>>;

const notes = (name: string): Migration[] => [
  { name: '100-notes', statements: [`create table ${name} (id int not null, text text not null)`] },
];
const withIndex = (name: string): Migration[] => [
  ...notes(name),
  {
    name: '101-find-notes',
    statements: [`update ${name} set text = lower(text)`],
    indexes: [
      { name: `${name}_id`, on: `${name} (id)`, unique: true },
      { name: `${name}_words`, on: `${name} using gin (to_tsvector('simple', text))` },
    ],
  },
];

const validIndexes = async (db: Db, table: string): Promise<string[]> => {
  const { rows } = await sql<{ name: string }>`
    select c.relname as name from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indrelid = ${table}::regclass and i.indisvalid order by 1`.execute(db);
  return rows.map(({ name }) => name);
};
const migrated = async (db: Db): Promise<string[]> => {
  const { rows } = await sql<{ name: string }>`
    select name from schema_migrations where name >= '100' order by 1`.execute(db);
  return rows.map(({ name }) => name);
};

const postgres = await realServer('postgres');
describe.each([['PGlite', false], ...(postgres ? [['PostgreSQL', true] as const] : [])] as const)(
  'migrations on %s',
  (_engine, real) => {
    let open: () => Promise<Db>;
    const ends: (() => Promise<unknown>)[] = [];
    const service = `migrate_${newId().slice(-8)}`;

    beforeAll(async () => {
      if (real) {
        await preparePostgres(postgres!.url, service, 'secret');
        const url = new URL(postgres!.url);
        url.username = `lyceum_${service}`;
        url.password = 'secret';
        open = async () => {
          const db = openPostgres<Record<string, never>>({ url: url.href, max: 4 });
          ends.push(() => db.destroy());
          return db;
        };
      } else {
        const server = await openPglite(undefined);
        ends.push(() => server.close());
        open = () => server.database<Record<string, never>>(service);
      }
    }, 60_000);
    afterAll(async () => {
      for (const end of ends.reverse()) await end();
      if (!real) return;
      const admin = openPostgres({ url: postgres!.url, max: 2 });
      await sql.raw(`drop schema ${service} cascade`).execute(admin);
      await admin.destroy();
    });

    test('statements and indexes are applied once, in their order', async () => {
      const db = await open();
      await migrate(db, service, notes('first'));
      await sql`insert into first values (1, 'ONE')`.execute(db);
      await migrate(db, service, withIndex('first'));
      await sql`update first set text = 'LOUD'`.execute(db);
      await migrate(db, service, withIndex('first'));
      expect((await sql<{ text: string }>`select text from first`.execute(db)).rows).toEqual([
        { text: 'LOUD' },
      ]);
      expect(await validIndexes(db, 'first')).toEqual(['first_id', 'first_words']);
      expect(await migrated(db)).toEqual(['100-notes', '101-find-notes', '101-find-notes (statements)']);
      await sql`delete from schema_migrations where name >= '100'`.execute(db);
    });

    test('an index that a broken-off build has left invalid is built anew', async () => {
      const db = await open();
      await migrate(db, service, notes('second'));
      await sql`insert into second values (1, 'one'), (1, 'another')`.execute(db);
      expect(await migrate(db, service, withIndex('second')).catch((error) => error.code)).toBe('23505');
      expect(await migrated(db)).toEqual(['100-notes', '101-find-notes (statements)']);
      expect(await validIndexes(db, 'second')).toEqual([]);
      await sql`delete from second where text = 'another'`.execute(db);
      await migrate(db, service, withIndex('second'));
      expect(await validIndexes(db, 'second')).toEqual(['second_id', 'second_words']);
      await sql`delete from schema_migrations where name >= '100'`.execute(db);
    });

    test.skipIf(!real)(
      'others write while an index is built, and processes that start meanwhile wait for it',
      async () => {
        const [db, other, third] = [await open(), await open(), await open()];
        await migrate(db, service, notes('third'));
        let finished = 0;
        let building: Promise<unknown>[] = [];
        // The build waits for transactions that are older than it.
        await other.transaction().execute(async (tx) => {
          await sql`insert into third values (1, 'one')`.execute(tx);
          await sql`insert into schema_migrations (name) values ('101-find-notes (statements)')`.execute(db);
          building = [db, third].map((one) =>
            migrate(one, service, withIndex('third')).then(() => finished++),
          );
          const begun = async () =>
            (await sql`select from pg_class where relname = 'third_id'`.execute(other)).rows.length > 0;
          for (const deadline = Date.now() + 20_000; !(await begun()) && Date.now() < deadline; )
            await new Promise((resolve) => setTimeout(resolve, 50));
          expect(await begun()).toBe(true);
          // Would wait, were it built in a transaction.
          await sql`insert into third values (2, 'two')`.execute(other);
          expect(finished).toBe(0);
        });
        await Promise.all(building);
        expect(await validIndexes(db, 'third')).toEqual(['third_id', 'third_words']);
        expect((await sql`select from third`.execute(db)).rows.length).toBe(2);
      },
      60_000,
    );
  },
);
