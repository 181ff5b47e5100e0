import { Counter, Gauge, type Registry } from 'prom-client';
import type { ObservedPool, PoolCounts, PoolState, ReplicaState } from './state.ts';

/** Metrics of the pools in the set that it gives back. They are asked when metrics are read; a request sets nothing. */
export function observeUpstreams(registry: Registry): Set<ObservedPool> {
  const pools = new Set<ObservedPool>();
  const registers = [registry];

  const ofReplicas = (name: string, help: string, value: (replica: ReplicaState) => number): void => {
    new Gauge({
      name,
      help,
      labelNames: ['upstream', 'replica'],
      registers,
      collect() {
        // Replicas come and go; those that are gone leave no label behind.
        this.reset();
        for (const pool of pools) {
          for (const replica of pool.state().replicas)
            this.set({ upstream: pool.name, replica: replica.name }, value(replica));
        }
      },
    });
  };
  const ofPools = (name: string, help: string, value: (state: PoolState) => number): void => {
    new Gauge({
      name,
      help,
      labelNames: ['upstream'],
      registers,
      collect() {
        for (const pool of pools) this.set({ upstream: pool.name }, value(pool.state()));
      },
    });
  };
  const counted = (
    name: string,
    help: string,
    label: string,
    values: (counts: PoolCounts) => Record<string, number>,
  ): void => {
    new Counter({
      name,
      help,
      labelNames: ['upstream', label],
      registers,
      collect() {
        this.reset();
        for (const pool of pools) {
          for (const [kind, value] of Object.entries(values(pool.counts())))
            this.inc({ upstream: pool.name, [label]: kind }, value);
        }
      },
    });
  };

  ofReplicas(
    'lyceum_gateway_replica_usable',
    '1: gets requests; 0.5: on trial (breaker half-open); 0: is out or draining.',
    usability,
  );
  ofReplicas(
    'lyceum_gateway_replica_in_flight',
    'Requests that a replica has.',
    (replica) => replica.inFlight,
  );
  ofReplicas('lyceum_gateway_replica_sockets', 'Open WebSockets to a replica.', (replica) => replica.sockets);
  ofReplicas(
    'lyceum_gateway_replica_share',
    'Of what a replica would get otherwise; below 1 in its slow start.',
    (replica) => replica.share,
  );
  ofPools(
    'lyceum_gateway_upstream_in_flight',
    'Requests in flight to all replicas of a service.',
    (state) => state.inFlight,
  );
  ofPools(
    'lyceum_gateway_upstream_queued',
    'Requests that wait for a place at the bulkhead.',
    (state) => state.queued,
  );
  counted(
    'lyceum_gateway_ejections_total',
    'Times a replica was taken out: its breaker opened, by cause.',
    'cause',
    ({ openings }) => openings,
  );
  counted(
    'lyceum_gateway_breaker_transitions_total',
    'Changes of the breakers of replicas, by the state they came to.',
    'to',
    ({ breakers }) => breakers,
  );
  counted(
    'lyceum_gateway_bulkhead_refusals_total',
    'Requests turned away with 503 because too many were in flight: queue full, or waited too long.',
    'reason',
    ({ refused }) => refused,
  );
  counted(
    'lyceum_gateway_retries_total',
    'Decisions of the retry budget.',
    'decision',
    ({ retries }) => retries,
  );
  return pools;
}

function usability({ breaker, draining }: ReplicaState): number {
  if (breaker === 'open' || draining) return 0;
  return breaker === 'half-open' ? 0.5 : 1;
}
