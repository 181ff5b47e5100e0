import type { Log } from '../../shared/observability/log.ts';
import { Bulkhead } from './bulkhead.ts';
import { Chooser } from './choose.ts';
import { Discovery } from './discovery.ts';
import { type CheckResult, checkHealth } from './health-check.ts';
import { type OpeningCause, RANK, Replica, type ReplicaOwner } from './replica.ts';
import { type NameResolver, type ResolvedAddress, systemResolver } from './resolve.ts';
import { RetryBudget } from './retry-budget.ts';
import type { UpstreamSettings } from './settings.ts';
import type { ObservedPool, PoolCounts, PoolState } from './state.ts';
import { nameOf, type UpstreamAddress, type UpstreamTarget } from './targets.ts';

export { type Outcome, Replica } from './replica.ts';
export type { UpstreamAddress } from './targets.ts';

export interface UpstreamPoolOptions<C> {
  /** Label in metrics, logs and problems. */
  name: string;
  targets: UpstreamTarget[];
  settings: UpstreamSettings;
  /** Makes what keeps the connections to a replica. */
  connect: (address: UpstreamAddress) => C;
  /** `graceful`: what is under way may finish. */
  closeConnections: (connections: C, graceful: boolean) => void;
  log: Log;
  /** Where the pools are that metrics tell of. */
  metrics?: { upstreams: Set<ObservedPool> };
  /** Milliseconds. */
  clock?: () => number;
  /** From 0 to 1. */
  random?: () => number;
  check?: (address: UpstreamAddress, timeoutMs: number) => Promise<CheckResult>;
  resolver?: NameResolver;
}

/** What `check` found is good for so long, in milliseconds: readiness is asked for from many sides. */
const FRESH_MS = 1_000;
/** Checks are spread by so much around their time, so that gateways do not ask in step. */
const JITTER = 0.2;
const NONE: readonly never[] = [];

/**
 * The replicas of one service: which there are, which may be used, and how much is let through to all of them together.
 * What is called for each request (`choose`, `enter`, `leave`, `mayRetry`) is synchronous and sets no timer.
 */
export class UpstreamPool<C> implements ReplicaOwner<C>, ObservedPool {
  readonly name: string;
  readonly settings: UpstreamSettings;
  private current: Replica<C>[] = [];
  /** Off the list, with requests in flight or open sockets. */
  private readonly finishing = new Set<Replica<C>>();
  private readonly bulkhead: Bulkhead;
  private readonly budget: RetryBudget;
  private readonly discovery: Discovery;
  private readonly chooser: Chooser<C>;
  private readonly clock: () => number;
  private readonly random: () => number;
  private readonly log: Log;

  private readonly openings: PoolCounts['openings'] = {
    connect: 0,
    'no answer': 0,
    'failures in a row': 0,
    'failure share': 0,
  };
  private readonly breakers: PoolCounts['breakers'] = { closed: 0, open: 0, 'half-open': 0 };

  private readonly checks = new Map<Replica<C>, Promise<void>>();
  private checked: Promise<void> | undefined;
  private checkedAt = Number.NEGATIVE_INFINITY;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private timerAt = Number.POSITIVE_INFINITY;
  private running = false;

  constructor(private readonly options: UpstreamPoolOptions<C>) {
    this.name = options.name;
    this.settings = options.settings;
    this.clock = options.clock ?? (() => performance.now());
    this.random = options.random ?? Math.random;
    this.log = options.log.child({ upstream: options.name });
    this.bulkhead = new Bulkhead(options.name, options.settings);
    this.budget = new RetryBudget(options.settings.retryShare, options.settings.retriesPerSecond);
    this.chooser = new Chooser(this.random);
    this.discovery = new Discovery(
      options.targets,
      options.resolver ?? systemResolver(),
      options.settings.resolveEveryMs,
      this.clock,
      this.log,
      (addresses) => this.use(addresses),
    );
    this.use(
      options.targets.flatMap((target) =>
        target.kind === 'static' ? [{ address: target.address, priority: 0, weight: 1 }] : [],
      ),
    );
    options.metrics?.upstreams.add(this);
  }

  get replicas(): readonly Replica<C>[] {
    return this.current;
  }

  /** Begins to look names up and to check health. Resolves when names have been looked up once, found or not. */
  async start(): Promise<void> {
    this.running = true;
    this.schedule();
    await this.discovery.run();
    this.schedule();
  }

  /** Ends all connections. */
  stop(): void {
    this.running = false;
    clearTimeout(this.timer);
    this.bulkhead.stop();
    this.options.metrics?.upstreams.delete(this);
    for (const { connections } of [...this.current, ...this.finishing])
      this.options.closeConnections(connections, false);
  }

  /** Other targets: replicas that stay keep their connections, those that go finish what they have. Rejects if none is found. */
  async reload(targets: UpstreamTarget[]): Promise<void> {
    await this.discovery.reload(targets);
    this.schedule();
  }

  /**
   * The replica for a request, or for a WebSocket, of those not in `tried`. When none is healthy, the least bad: trying beats giving up.
   * Undefined: all were tried, there is none, or all that are left are failing and have as many as they may.
   */
  choose(tried: readonly Replica<C>[] = NONE, forSocket = false): Replica<C> | undefined {
    const now = this.clock();
    if (tried.length === 0) this.budget.countRequest(now);
    return this.chooser.choose(this.current, tried, now, forSocket);
  }

  /** A place among the requests in flight. Undefined: it is there. A promise: wait for it; rejects with a Problem. */
  enter(): undefined | Promise<void> {
    return this.bulkhead.enter();
  }

  /** Exactly once for each `enter` that gave a place. */
  leave(): void {
    this.bulkhead.leave();
  }

  /** Whether a request that failed may be tried again; true takes it from the budget. */
  mayRetry(): boolean {
    return this.budget.take(this.clock());
  }

  /** Asks each replica how it is, unless that was done within the last second. Never rejects. */
  check(): Promise<void> {
    const now = this.clock();
    if (!this.checked || now - this.checkedAt > FRESH_MS) {
      this.checkedAt = now;
      this.checked = Promise.all(this.current.map((replica) => this.checkReplica(replica))).then(() => {});
    }
    return this.checked;
  }

  state(): PoolState {
    const now = this.clock();
    for (const replica of this.current) replica.refresh(now);
    return {
      name: this.name,
      ready: this.current.some(
        ({ health, breaker }) => (health === 'ready' || health === 'unknown') && breaker !== 'open',
      ),
      replicas: [...this.current, ...this.finishing].map((replica) => ({
        name: replica.name,
        health: replica.health,
        breaker: replica.breaker,
        inFlight: replica.inFlight,
        sockets: replica.sockets,
        share: replica.share(now),
        draining: replica.retired || replica.health === 'draining',
        openings: replica.openings,
      })),
      inFlight: this.bulkhead.inFlight,
      queued: this.bulkhead.queued,
      resolveError: this.discovery.error,
    };
  }

  counts(): PoolCounts {
    return {
      openings: { ...this.openings },
      breakers: { ...this.breakers },
      refused: { full: this.bulkhead.refused, waited: this.bulkhead.timedOut },
      retries: { allowed: this.budget.allowed, denied: this.budget.denied },
    };
  }

  hasOtherUsable(replica: Replica<C>): boolean {
    const now = this.clock();
    return this.current.some((other) => other !== replica && other.rank(now) <= RANK.notReady);
  }

  onBreaker(replica: Replica<C>, cause: OpeningCause | undefined): void {
    const { breaker, name } = replica;
    this.breakers[breaker]++;
    if (cause) {
      this.openings[cause]++;
      this.log.warn({ replica: name, cause }, 'replica is taken out');
      if (cause === 'connect' || cause === 'no answer') {
        this.discovery.lookAgainSoon();
        this.schedule();
      }
    } else if (breaker === 'closed') {
      this.log.info({ replica: name }, 'replica is back');
    }
  }

  onFinished(replica: Replica<C>): void {
    this.finishing.delete(replica);
  }

  private use(addresses: ResolvedAddress[]): void {
    const before = new Map(this.current.map((replica) => [replica.name, replica]));
    const slowly = this.current.length > 0;
    this.current = addresses.map(({ address, priority, weight }) => {
      const replica = before.get(nameOf(address)) ?? this.add(address, slowly);
      before.delete(replica.name);
      replica.priority = priority;
      replica.weight = weight;
      return replica;
    });
    for (const replica of before.values()) this.retire(replica);
    this.chooser.forget();
    this.schedule();
  }

  private add(address: UpstreamAddress, slowly: boolean): Replica<C> {
    const replica = new Replica(address, this.options.connect(address), this, this.clock);
    replica.checkAt = this.settings.checkEveryMs > 0 ? this.clock() : Number.POSITIVE_INFINITY;
    if (slowly) {
      replica.startSlowly();
      this.log.info({ replica: replica.name }, 'replica is new');
    }
    return replica;
  }

  private retire(replica: Replica<C>): void {
    const { name, inFlight, sockets } = replica;
    this.log.info({ replica: name, inFlight, sockets }, 'replica is off the list');
    replica.retired = true;
    if (replica.busy) this.finishing.add(replica);
    this.options.closeConnections(replica.connections, true);
  }

  private checkReplica(replica: Replica<C>): Promise<void> {
    const underWay = this.checks.get(replica);
    if (underWay) return underWay;
    const startedAt = this.clock();
    replica.checkAt = Number.POSITIVE_INFINITY;
    const { checkEveryMs, checkTimeoutMs } = this.settings;
    const check = this.options.check ?? checkHealth;
    const done = check(replica.address, checkTimeoutMs).then(({ health, refused }) => {
      this.checks.delete(replica);
      if (replica.retired) return;
      replica.learnFromCheck(health, startedAt, refused);
      if (checkEveryMs === 0) return;
      replica.checkAt = this.clock() + checkEveryMs * (1 + JITTER * (this.random() - 0.5));
      this.schedule();
    });
    this.checks.set(replica, done);
    return done;
  }

  /** One timer for all that is due at some time. */
  private schedule(): void {
    if (!this.running) return;
    let due = this.discovery.dueAt;
    for (const { checkAt } of this.current) due = Math.min(due, checkAt);
    if (due >= this.timerAt || due === Number.POSITIVE_INFINITY) return;
    clearTimeout(this.timer);
    this.timerAt = due;
    this.timer = setTimeout(this.onTimer, Math.max(0, due - this.clock()));
    this.timer.unref?.();
  }

  private readonly onTimer = (): void => {
    this.timerAt = Number.POSITIVE_INFINITY;
    const now = this.clock();
    if (this.discovery.dueAt <= now) void this.discovery.run();
    for (const replica of this.current) if (replica.checkAt <= now) void this.checkReplica(replica);
    this.schedule();
  };
}
