import { databaseReady } from '../../shared/db/ready.ts';
import type { OutboxRelay } from '../../shared/events/outbox.ts';
import { createSocketHost } from '../../shared/runtime/socket-server.ts';
import { type Service, type ServiceDeps, systemContext } from '../../shared/service.ts';
import type { ChatTools } from './context.ts';
import { liveHandlers, projectionHandlers } from './events.ts';
import { chatRoutes } from './http.ts';
import { Connections } from './live/connections.ts';
import { createHub } from './live/hub.ts';
import { type ChatServer, ROOM_PREFIX } from './live/names.ts';
import { chatMetrics } from './metrics.ts';
import { migrations } from './migrations/index.ts';
import { applyRetention } from './operations/apply-retention.ts';
import { endExpiredSanctions, forgetDepartures } from './operations/sanctions.ts';
import { openSendLimit, openSendQueue } from './operations/send-message.ts';
import { openSockets } from './socket.ts';
import { mergeNewWords } from './store/search.ts';
import type { ChatTables } from './store/tables.ts';
import { WordFilter } from './word-filter/word-filter.ts';

/** Rooms, messages, presence, and every socket of the platform. */
export async function createChat(deps: ServiceDeps<ChatTables>): Promise<Service<ChatTables>> {
  const host = createSocketHost(ROOM_PREFIX);
  const io: ChatServer = host.io;
  deps.socketAdapter.attach(host.io);
  const connections = new Connections();
  const metrics = chatMetrics(deps.metrics.registry);
  const hub = createHub(io, host.broadcast, connections, deps, metrics);
  let relay: Pick<OutboxRelay, 'nudge' | 'handOver'> | undefined;
  const filter = new WordFilter();
  const tools: ChatTools = {
    live: hub,
    ephemeral: deps.ephemeral,
    filter,
    sendLimit: openSendLimit(deps.ephemeral, deps.settings.limitScale),
    sendQueue: openSendQueue(
      deps.db,
      { live: hub, filter },
      (events) => relay?.handOver(events),
      (messages) => metrics.batchMessages.observe(messages),
    ),
    limitScale: deps.settings.limitScale,
  };
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
      // A quiet gap must be noticed within 5 s; a lost change takes two looks.
      { name: 'heal-feeds', everyMs: 2_000, run: () => hub.feeds.heal() },
      { name: 'end-expired', everyMs: 1_000, run: () => connections.endExpired() },
      { name: 'refresh-presence', everyMs: 15_000, run: () => hub.board.refresh() },
      { name: 'evict-departed', everyMs: 1_000, run: () => hub.evictDeparted() },
      { name: 'forget-departures', everyMs: 600_000, run: () => forgetDepartures(systemContext(deps)) },
      { name: 'end-sanctions', everyMs: 1_000, run: () => endExpiredSanctions(systemContext(deps)) },
      { name: 'merge-new-words', everyMs: 1_000, run: () => mergeNewWords(deps.db) },
      { name: 'apply-retention', everyMs: 60_000, run: () => applyRetention(systemContext(deps), tools) },
    ],
    readiness: {
      database: () => databaseReady(deps.db),
      broker: () => deps.bus.ready(),
      store: () => deps.ephemeral.ready(),
      sockets: () => deps.socketAdapter.ready(),
    },
    async start(outboxRelay) {
      relay = outboxRelay;
      await hub.start();
      openSockets(io, { deps, tools, hub, connections, metrics, nudge: outboxRelay.nudge });
    },
    stop: () => hub.stop(),
    listen: (options) => host.listen(options, (graceMs) => connections.drain(graceMs)),
  };
}
