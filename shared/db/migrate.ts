import { type Kysely, sql } from 'kysely';
import { kernelMigrations, type Migration } from './kernel.ts';

/**
 * Brings a service's schema forward: the kernel's tables, then the service's own, each migration in one
 * transaction. Several processes may start at once; an advisory lock lets one work while the others wait.
 */
// biome-ignore lint/suspicious/noExplicitAny: any schema can be migrated
export async function migrate(db: Kysely<any>, service: string, migrations: Migration[]): Promise<void> {
  await sql`create table if not exists schema_migrations (name text primary key, at timestamptz not null default now())`
    .execute(db)
    // Two processes that create it in the same instant: the loser's error means that it is there.
    .catch((error: { code?: string }) => {
      if (error.code !== '23505' && error.code !== '42P07') throw error;
    });
  // biome-ignore lint/suspicious/noExplicitAny: any schema can be migrated
  const done = async (executor: Kysely<any>): Promise<Set<string>> => {
    const { rows } = await sql<{ name: string }>`select name from schema_migrations`.execute(executor);
    return new Set(rows.map((row) => row.name));
  };
  const all = [...kernelMigrations, ...migrations];
  const before = await done(db);
  if (all.every((migration) => before.has(migration.name))) return;

  for (const migration of all) {
    await db.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtext(${`lyceum-migrate-${service}`}))`.execute(tx);
      if ((await done(tx)).has(migration.name)) return;
      for (const statement of migration.statements) await sql.raw(statement).execute(tx);
      await sql`insert into schema_migrations (name) values (${migration.name})`.execute(tx);
    });
  }
}
