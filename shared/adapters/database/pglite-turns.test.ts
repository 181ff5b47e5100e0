import { expect, test } from 'bun:test';
import { type Generated, sql } from 'kysely';
import { openPglite } from './pglite.ts';

test('timers and sockets get their turn while a long queue waits for the one connection', async () => {
  const pglite = await openPglite(undefined);
  const db = await pglite.database<{ things: { id: Generated<number>; name: string } }>('turns');
  await sql`create table things (id int generated always as identity, name text)`.execute(db);
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await Promise.all(
    Array.from({ length: 300 }, (_, n) =>
      db.transaction().execute((tx) =>
        tx
          .insertInto('things')
          .values({ name: `${n}` })
          .execute(),
      ),
    ),
  );
  clearInterval(timer);
  // Without turns this is 0, however long it takes.
  expect(turns).toBeGreaterThan(2);
  await pglite.close();
});
