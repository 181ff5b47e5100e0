import { randomBytes } from 'node:crypto';
import { databaseReady } from '../../shared/db/ready.ts';
import { serveStreams } from '../../shared/runtime/streaming-server.ts';
import { type Service, type ServiceDeps, systemContext } from '../../shared/service.ts';
import { peopleHandlers, processingHandlers } from './events.ts';
import { contentRoutes } from './http.ts';
import { migrations } from './migrations/index.ts';
import { removeDoomedObjects, sweepUploads } from './operations/discard-objects.ts';
import { createMediaWorker } from './processing/media-worker.ts';
import { secret } from './store/secrets.ts';
import type { ContentTables } from './store/tables.ts';

/** Courses, lessons, enrolment, progress and files. */
export async function createContent(deps: ServiceDeps<ContentTables>): Promise<Service<ContentTables>> {
  const { db, bus, objects } = deps;
  const media = createMediaWorker();
  const keys = { link: '' };

  return {
    name: 'content',
    basePath: '/api/content',
    migrations,
    routes: contentRoutes({ objects, publicUrl: deps.settings.publicUrl, linkKey: () => keys.link }),
    consumers: [
      { queue: 'content.people', handlers: peopleHandlers(deps) },
      { queue: 'content.processing', handlers: processingHandlers(deps, media), prefetch: 2 },
    ],
    jobs: [
      { name: 'sweep-uploads', everyMs: 30_000, run: () => sweepUploads(systemContext(deps), objects) },
      {
        name: 'remove-objects',
        everyMs: 60_000,
        run: () => removeDoomedObjects(systemContext(deps), objects),
      },
    ],
    readiness: {
      database: () => databaseReady(db),
      broker: () => bus.ready(),
      objects: () => objects.ready(),
    },
    async start() {
      keys.link = await secret(db, 'link-key', randomBytes(32).toString('base64url'));
    },
    listen: serveStreams,
    async stop() {
      media.stop();
    },
  };
}
