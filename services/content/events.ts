import type { Handlers } from '../../shared/events/consumer.ts';
import { type ServiceDeps, systemContext } from '../../shared/service.ts';
import { learnAboutPerson } from './operations/learn-about-people.ts';
import { examineFile, settle } from './operations/process-file.ts';
import type { MediaWorker } from './processing/media-worker.ts';
import type { ContentTables } from './store/tables.ts';

/** What this service knows of people: their names, for courses and enrolments. */
export function peopleHandlers(deps: ServiceDeps<ContentTables>): Handlers<ContentTables, 'content.people'> {
  return {
    'user.registered': ({ data, at }, delivery) =>
      delivery.once((tx) =>
        learnAboutPerson(systemContext(deps, tx), {
          userId: data.userId,
          at,
          displayName: data.displayName,
          role: data.role,
        }),
      ),
    'profile.updated': ({ data, at }, delivery) =>
      delivery.once((tx) =>
        learnAboutPerson(systemContext(deps, tx), { userId: data.userId, at, displayName: data.displayName }),
      ),
    'user.role-changed': ({ data, at }, delivery) =>
      delivery.once((tx) =>
        learnAboutPerson(systemContext(deps, tx), { userId: data.userId, at, role: data.to }),
      ),
  };
}

/** The background worker: looks into each uploaded file, then settles it. */
export function processingHandlers(
  deps: ServiceDeps<ContentTables>,
  media: MediaWorker,
): Handlers<ContentTables, 'content.processing'> {
  return {
    'file.uploaded': async ({ data }, delivery) => {
      if (await delivery.handled()) return;
      const outcome = await examineFile(systemContext(deps), { objects: deps.objects, media }, data.fileId);
      await delivery.once(async (tx) => {
        if (outcome) await settle(systemContext(deps, tx), data.fileId, outcome);
      });
    },
  };
}
