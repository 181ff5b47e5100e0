import type { PeerName } from './peers.ts';
import { PATHS, POST_BYTES } from './upstreams.ts';

interface Requests {
  kind: 'requests';
  path: string;
  connections: number;
  bodyBytes?: number;
}

/** Fresh processes, since it is also about the memory that they take. */
interface Stream {
  kind: 'stream';
  direction: 'down' | 'up';
}

type Workload = { title: string /** Peers that it says nothing about. */; without: PeerName[] } & (
  | Requests
  | Stream
  | { kind: 'relay' }
  | { kind: 'latency' }
);

/** Tokens that are remembered show in the smallest work best. */
const CACHED: PeerName[] = ['express-cached', 'fastify-cached'];
const VARIANTS: PeerName[] = ['nginx-limit', 'lyceum-2', ...CACHED];

export const CONNECTIONS = { few: 32, many: 1_024 };
export const RELAY = { rooms: 2, socketsPerRoom: 200 };

const WORKLOADS = {
  small: {
    title: `GET of a small JSON reply, ${CONNECTIONS.few} connections`,
    kind: 'requests',
    path: PATHS.small,
    connections: CONNECTIONS.few,
    without: [],
  },
  'small-1024': {
    title: `GET of a small JSON reply, ${CONNECTIONS.many} connections`,
    kind: 'requests',
    path: PATHS.small,
    connections: CONNECTIONS.many,
    without: CACHED,
  },
  large: {
    title: `GET of a 100 KB reply, ${CONNECTIONS.few} connections`,
    kind: 'requests',
    path: PATHS.large,
    connections: CONNECTIONS.few,
    without: VARIANTS,
  },
  post: {
    title: `POST of 10 KB, ${CONNECTIONS.few} connections`,
    kind: 'requests',
    path: PATHS.post,
    connections: CONNECTIONS.few,
    bodyBytes: POST_BYTES,
    without: VARIANTS,
  },
  down: { title: '1 GiB down, one connection', kind: 'stream', direction: 'down', without: VARIANTS },
  up: { title: '1 GiB up, one connection', kind: 'stream', direction: 'up', without: VARIANTS },
  relay: {
    title: `WebSocket relay, ${RELAY.rooms} rooms of ${RELAY.socketsPerRoom} sockets`,
    kind: 'relay',
    without: VARIANTS,
  },
  latency: {
    title: 'Latency at a fixed rate, small JSON reply, 64 connections',
    kind: 'latency',
    without: ['lyceum-2', ...CACHED],
  },
} satisfies Record<string, Workload>;

export type WorkloadName = keyof typeof WORKLOADS;
export const WORKLOAD_NAMES = Object.keys(WORKLOADS) as WorkloadName[];
export const workloadOf = (name: WorkloadName): Workload => WORKLOADS[name];
