import type { BreakerState, Health, OpeningCause } from './replica.ts';

export interface ReplicaState {
  /** Its address. */
  name: string;
  health: Health;
  breaker: BreakerState;
  inFlight: number;
  sockets: number;
  /** Of what it would get otherwise; less than 1 while it starts slowly. */
  share: number;
  /** Off the list or about to stop: gets nothing new. */
  draining: boolean;
  /** How often its breaker has opened. */
  openings: number;
}

export interface PoolState {
  name: string;
  /** At least one replica says that it is ready and is in use. */
  ready: boolean;
  replicas: ReplicaState[];
  inFlight: number;
  queued: number;
  /** Why names could not be looked up last; what was known before is used on. */
  resolveError: string | undefined;
}

/** What has happened since the start. */
export interface PoolCounts {
  /** Times a replica was taken out, by cause. */
  openings: Record<OpeningCause, number>;
  /** Changes of breakers, by the state they came to. */
  breakers: Record<BreakerState, number>;
  /** Turned away at the bulkhead. */
  refused: { full: number; waited: number };
  retries: { allowed: number; denied: number };
}

/** A pool, as metrics see it. */
export interface ObservedPool {
  readonly name: string;
  state(): PoolState;
  counts(): PoolCounts;
}
