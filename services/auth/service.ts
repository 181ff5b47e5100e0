import { stopPasswordWorkers } from '../../shared/auth/passwords.ts';
import { databaseReady } from '../../shared/db/ready.ts';
import { mailJob } from '../../shared/mail/mail-queue.ts';
import { type Service, type ServiceDeps, systemContext } from '../../shared/service.ts';
import type { AuthTools } from './context.ts';
import { profileHandlers } from './events.ts';
import { authRoutes } from './http.ts';
import { createLoginAttempts } from './login-attempts.ts';
import { migrations } from './migrations/index.ts';
import { repeatRevocations } from './operations/end-session.ts';
import { createFirstAdmin } from './operations/first-admin.ts';
import { openSigningKeys, type SigningKeys } from './signing-keys.ts';
import { deleteOldSessions } from './store/sessions.ts';
import type { AuthTables } from './store/tables.ts';

const MONTH_MS = 30 * 86_400_000;

/** Sign-up, sessions, tokens, roles. */
export async function createAuth(deps: ServiceDeps<AuthTables>): Promise<Service<AuthTables>> {
  let keys: SigningKeys | undefined;
  const tools: AuthTools = {
    get keys() {
      if (!keys) throw new Error('auth has not started');
      return keys;
    },
    ephemeral: deps.ephemeral,
    attempts: createLoginAttempts({ store: deps.ephemeral, scale: deps.settings.limitScale }),
    settings: deps.settings,
  };
  return {
    name: 'auth',
    basePath: '/api/auth',
    migrations,
    routes: authRoutes(tools),
    consumers: [{ queue: 'auth.profiles', handlers: profileHandlers }],
    jobs: [
      mailJob({ db: deps.db, mailer: deps.mailer, log: deps.log }),
      {
        name: 'repeat-revocations',
        everyMs: 2_000,
        run: () => repeatRevocations(systemContext(deps), tools),
      },
      { name: 'reload-keys', everyMs: 5_000, run: () => tools.keys.reload() },
      {
        name: 'delete-old-sessions',
        everyMs: 3_600_000,
        run: () => deleteOldSessions(deps.db, new Date(Date.now() - MONTH_MS)),
      },
    ],
    readiness: {
      database: () => databaseReady(deps.db),
      broker: () => deps.bus.ready(),
      store: () => deps.ephemeral.ready(),
    },
    extendHttp(app) {
      app.get('/.well-known/jwks.json', (c) => {
        const bytes = Buffer.from(JSON.stringify(tools.keys.jwks()));
        return c.body(bytes, 200, {
          'content-type': 'application/json',
          // Or the reply to HEAD would say 0.
          'content-length': String(bytes.byteLength),
          // A new key signs half a minute after it was published: by then everybody has it. Should we be away, the
          // old ones are good for as long as anybody likes.
          'cache-control': 'public, max-age=15, stale-while-revalidate=5, stale-if-error=86400',
        });
      });
    },
    async start() {
      keys = await openSigningKeys(deps.db, deps.settings.accessTokenSeconds);
      if (deps.settings.firstAdmin) await createFirstAdmin(systemContext(deps), deps.settings.firstAdmin);
    },
    async stop() {
      stopPasswordWorkers();
    },
  };
}
