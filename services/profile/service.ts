import type { AvatarSize } from '../../shared/contracts/profile.ts';
import { databaseReady } from '../../shared/db/ready.ts';
import { createImageDrawer, type DrawOutput } from '../../shared/media/draw-images.ts';
import { type Service, type ServiceDeps, systemContext } from '../../shared/service.ts';
import type { ProfileTools } from './context.ts';
import { userHandlers } from './events.ts';
import { profileRoutes } from './http.ts';
import { migrations } from './migrations/index.ts';
import { sweepAvatars } from './operations/remove-avatars.ts';
import type { ProfileTables } from './store/tables.ts';

const square = (name: AvatarSize, pixels: number): DrawOutput & { name: AvatarSize } => ({
  name,
  width: pixels,
  height: pixels,
  fit: 'cover',
});
const AVATARS = [square('small', 64), square('medium', 256), square('large', 512)];

/** Who people are: name, picture, a few words, and how much of it others see. */
export async function createProfile(deps: ServiceDeps<ProfileTables>): Promise<Service<ProfileTables>> {
  const drawer = createImageDrawer();
  const tools: ProfileTools = {
    objects: deps.objects,
    ephemeral: deps.ephemeral,
    settings: deps.settings,
    drawAvatar: (picture) => drawer.draw(picture, AVATARS),
  };
  return {
    name: 'profile',
    basePath: '/api/profiles',
    migrations,
    routes: profileRoutes(tools),
    consumers: [{ queue: 'profile.users', handlers: userHandlers(deps, tools) }],
    jobs: [{ name: 'sweep-avatars', everyMs: 15_000, run: () => sweepAvatars(systemContext(deps), tools) }],
    readiness: {
      database: () => databaseReady(deps.db),
      broker: () => deps.bus.ready(),
      objects: () => deps.objects.ready(),
    },
    async stop() {
      drawer.stop();
    },
  };
}
