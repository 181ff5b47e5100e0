import { z } from 'zod';
import { Problem } from '../shared/errors.ts';
import { validate } from '../shared/http/body.ts';
import type { InternalRoute } from './internal.ts';
import type { ResponseCache } from './policy/cache.ts';
import { MAINTENANCE, type SwitchEntry, type Switches } from './policy/switches.ts';
import type { ReloadReport } from './reload.ts';

/** Shown to clients, so no markup and no line breaks. */
const message = z.string().trim().min(1).max(500).optional();
const until = z.iso.datetime({ offset: true }).optional();
const SwitchBody = z.strictObject({ off: z.boolean(), message, until });
const MaintenanceBody = z.strictObject({ on: z.boolean().default(true), message, until });
const PurgeBody = z.strictObject({ path: z.string().startsWith('/').max(2_048).default('/') });
const ReloadBody = z.strictObject({});

/** What operators can change while the gateway runs. */
export const controlRoutes = (
  switches: Switches,
  cache: ResponseCache,
  reload: () => Promise<ReloadReport>,
): InternalRoute[] => [
  {
    method: 'GET',
    path: '/switches',
    does: 'what is switched off',
    answer: () => Response.json(present(switches.off())),
  },
  {
    method: 'PUT',
    path: '/switches/routes/{name}',
    does: '{off, message?, until?}: switches a route off or on, by its name in metrics',
    answer: ({ params, body }) =>
      change(switches, `routes/${params.name}`, validate(SwitchBody, body, 'body')),
  },
  {
    method: 'PUT',
    path: '/switches/services/{name}',
    does: '{off, message?, until?}: switches all routes of a service off or on',
    answer: ({ params, body }) =>
      change(switches, `services/${params.name}`, validate(SwitchBody, body, 'body')),
  },
  {
    method: 'PUT',
    path: '/switches/maintenance',
    does: '{on?, message?, until?}: answers everything with a maintenance page, or no longer',
    answer: ({ body }) => {
      const { on, ...rest } = validate(MaintenanceBody, body, 'body');
      return change(switches, MAINTENANCE, { off: on, ...rest });
    },
  },
  {
    method: 'POST',
    path: '/cache/purge',
    does: '{path?}: forgets kept replies whose path begins so, in every gateway',
    answer: async ({ body }) => Response.json(await cache.purge(validate(PurgeBody, body, 'body').path)),
  },
  {
    method: 'POST',
    path: '/reload',
    does: 'reads the configuration and the certificate of this process again',
    answer: async ({ body }) => {
      validate(ReloadBody, body, 'body');
      return Response.json(await reload());
    },
  },
];

async function change(
  switches: Switches,
  key: string,
  to: { off: boolean; message?: string | undefined; until?: string | undefined },
): Promise<Response> {
  if (!switches.isKnown(key)) throw new Problem('not-found', 'There is nothing of that name to switch.');
  const shared = await switches.change(key, to);
  // Not shared yet: the store is away. It holds here, and elsewhere when the store is back.
  return Response.json({ ...present(switches.off()), shared });
}

interface Shown {
  since: string;
  message: string | undefined;
  until: string | undefined;
}

function present(off: Record<string, SwitchEntry>) {
  const shown = (entry: SwitchEntry): Shown => ({
    since: new Date(entry.changedAt).toISOString(),
    message: entry.message,
    until: entry.until,
  });
  const named = (prefix: string): Record<string, Shown> =>
    Object.fromEntries(
      Object.entries(off)
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, entry]) => [key.slice(prefix.length), shown(entry)]),
    );
  const maintenance = off[MAINTENANCE];
  return {
    maintenance: maintenance ? { on: true, ...shown(maintenance) } : { on: false },
    routes: named('routes/'),
    services: named('services/'),
  };
}
