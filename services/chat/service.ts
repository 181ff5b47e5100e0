import { databaseReady } from '../../shared/db/ready.ts';
import { createSocketHost } from '../../shared/runtime/socket-server.ts';
import type { Service, ServiceDeps } from '../../shared/service.ts';
import type { ChatTools } from './context.ts';
import { liveHandlers, projectionHandlers } from './events.ts';
import { chatRoutes } from './http.ts';
import { createHub } from './live/hub.ts';
import type { ChatServer } from './live/names.ts';
import { migrations } from './migrations/index.ts';
import { openSockets } from './socket.ts';
import type { ChatTables } from './store/tables.ts';

/** Rooms, messages, presence, and every socket of the platform. */
export async function createChat(deps: ServiceDeps<ChatTables>): Promise<Service<ChatTables>> {
  const host = await createSocketHost();
  const io: ChatServer = host.io;
  deps.socketAdapter.attach(host.io);
  const hub = createHub(io, deps);
  const tools: ChatTools = { live: hub, ephemeral: deps.ephemeral, limitScale: deps.settings.limitScale };
  return {
    name: 'chat',
    basePath: '/api/chat',
    migrations,
    routes: chatRoutes(tools),
    consumers: [
      { queue: 'chat.projections', handlers: projectionHandlers(deps, tools) },
      { queue: 'chat.live', handlers: liveHandlers(hub) },
    ],
    jobs: [
      { name: 'heal-feeds', everyMs: 3_000, run: () => hub.feeds.heal() },
      { name: 'refresh-presence', everyMs: 15_000, run: () => hub.board.refresh() },
    ],
    readiness: {
      database: () => databaseReady(deps.db),
      broker: () => deps.bus.ready(),
      store: () => deps.ephemeral.ready(),
      sockets: () => deps.socketAdapter.ready(),
    },
    async start(nudge) {
      await hub.start();
      openSockets(io, { deps, tools, hub, nudge });
    },
    stop: () => hub.stop(),
    listen: (options) => host.listen(options),
  };
}
