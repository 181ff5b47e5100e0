import { type Kysely, sql } from 'kysely';
import { type ConcurrentIndex, kernelMigrations, type Migration } from './kernel.ts';

// biome-ignore lint/suspicious/noExplicitAny: any schema can be migrated
type AnyDatabase = Kysely<any>;

/** How often a process looks whether the index that another one builds is there. */
const LOOK_EVERY_MS = 500;

/**
 * Brings a service's schema forward: the kernel's tables, then the service's own, in their order. The statements of a
 * migration are one transaction, and its indexes are built after it while others go on writing. Several processes may
 * start at once; an advisory lock lets one work while the others wait. Nobody waits for that lock while an index is
 * built: PostgreSQL would wait for the end of that wait before it calls the index valid.
 */
export async function migrate(db: AnyDatabase, service: string, migrations: Migration[]): Promise<void> {
  await sql`create table if not exists schema_migrations (name text primary key, at timestamptz not null default now())`
    .execute(db)
    // Two processes that create it in the same instant: the loser's error means that it is there.
    .catch((error: { code?: string }) => {
      if (error.code !== '23505' && error.code !== '42P07') throw error;
    });
  const all = [...kernelMigrations, ...migrations];
  const before = await done(db);
  for (const { name, statements, indexes = [] } of all) {
    if (before.has(name)) continue;
    if (statements.length > 0) {
      const last = indexes.length === 0;
      await oneAtATime(db, service, async (tx) => {
        // Those with indexes are done when these are there: their statements have a mark of their own.
        const mark = last ? name : `${name} (statements)`;
        if ((await done(tx)).has(mark)) return;
        for (const statement of statements) await sql.raw(statement).execute(tx);
        await note(tx, mark);
      });
      if (last) continue;
    }
    for (const index of indexes) await buildIndex(db, service, index);
    await note(db, name);
  }
}

async function done(db: AnyDatabase): Promise<Set<string>> {
  const { rows } = await sql<{ name: string }>`select name from schema_migrations`.execute(db);
  return new Set(rows.map((row) => row.name));
}

const note = (db: AnyDatabase, name: string) =>
  sql`insert into schema_migrations (name) values (${name}) on conflict do nothing`.execute(db);

const oneAtATime = (
  db: AnyDatabase,
  service: string,
  work: (tx: AnyDatabase) => Promise<unknown>,
): Promise<unknown> =>
  db.transaction().execute(async (tx) => {
    await sql`select pg_advisory_xact_lock(hashtext(${`lyceum-migrate-${service}`}))`.execute(tx);
    return work(tx);
  });

/** Resolves when the index is there and valid, whoever has built it. What a build that broke off has left goes first. */
async function buildIndex(db: AnyDatabase, service: string, index: ConcurrentIndex): Promise<void> {
  const { name, on, unique = false } = index;
  for (;;) {
    const state = await stateOf(db, name);
    if (state === 'valid') return;
    if (state === 'building') {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    } else if (state === 'broken') {
      await oneAtATime(db, service, async (tx) => {
        if ((await stateOf(tx, name)) === 'broken') await sql.raw(`drop index ${name}`).execute(tx);
      });
    } else {
      const create = `create ${unique ? 'unique ' : ''}index concurrently if not exists ${name} on ${on}`;
      await sql
        .raw(create)
        .execute(db)
        .catch((error: { code?: string; message?: string }) => {
          // Another process has begun in the same instant.
          const sameName = error.code === '42P07' || /pg_class_relname_nsp_index/.test(error.message ?? '');
          if (!sameName) throw error;
        });
    }
  }
}

async function stateOf(db: AnyDatabase, name: string): Promise<'missing' | 'building' | 'broken' | 'valid'> {
  const { rows } = await sql<{ valid: boolean; building: boolean }>`
    select i.indisvalid as valid,
      exists (select from pg_stat_progress_create_index p where p.index_relid = i.indexrelid) as building
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where c.relname = ${name} and c.relnamespace = current_schema()::regnamespace`.execute(db);
  const [row] = rows;
  if (!row) return 'missing';
  if (row.valid) return 'valid';
  return row.building ? 'building' : 'broken';
}
