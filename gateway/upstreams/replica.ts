import type { UpstreamSettings } from './settings.ts';
import { SlidingCounts } from './sliding-counts.ts';
import { nameOf, type UpstreamAddress } from './targets.ts';

/** What a request says about the replica that had it. */
export type Outcome =
  | 'ok'
  /** It answered 502, 503 or 504. */
  | 'failed-status'
  /** No connection. */
  | 'connect'
  /** The connection broke, or what came was no reply. */
  | 'broken'
  | 'timeout'
  /** The client left: says nothing. */
  | 'cancelled';

/** What the health check last saw. */
export type Health =
  | 'unknown'
  | 'ready'
  /** It lives, but something it needs is away. */
  | 'not ready'
  /** It is about to stop. */
  | 'draining'
  | 'no answer';

/** `half-open`: a few requests at a time try whether it works again. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** Why a breaker opened. */
export type OpeningCause = 'connect' | 'no answer' | 'failures in a row' | 'failure share';

/** What a replica asks of, and tells, its pool. */
export interface ReplicaOwner<C> {
  readonly settings: UpstreamSettings;
  /** Whether requests could go elsewhere. */
  hasOtherUsable(replica: Replica<C>): boolean;
  /** Its breaker has changed; `cause`: it opened. */
  onBreaker(replica: Replica<C>, cause: OpeningCause | undefined): void;
  /** A retired replica has finished its last request, and its last socket has closed. */
  onFinished(replica: Replica<C>): void;
}

/** From best to worst, as a replica for the next request. */
export const RANK = {
  ready: 0,
  notReady: 1,
  draining: 2,
  failing: 3,
  unreachable: 4,
  none: 5,
} as const;
export type Rank = (typeof RANK)[keyof typeof RANK];

const OK = 0;
const FAILED = 1;
/** Share of a replica at the begin of its slow start. */
const FIRST_SHARE = 0.1;

/**
 * One replica and what is known about it. Ejection and circuit breaker are one mechanism: a replica is out while its
 * breaker is open. It opens by failed requests and by failed health checks alike, stays open twice as long each time,
 * and closes after a few requests that went well. Times in milliseconds of the pool's clock.
 */
export class Replica<C> {
  readonly name: string;
  /** Requests. */
  inFlight = 0;
  /** Open WebSockets. */
  sockets = 0;
  health: Health = 'unknown';
  breaker: BreakerState = 'closed';
  /** Taken off the list: finishes what it has. */
  retired = false;
  /** From SRV records: lower first; a larger one gets more. */
  priority = 0;
  weight = 1;
  openings = 0;
  /** When the next health check is due. Infinity: never, or under way. */
  checkAt = Number.POSITIVE_INFINITY;

  /** Counts the changes of the breaker: a request that began before the last one says nothing about the state now. */
  private era = 0;
  private trials = 0;
  private successes = 0;
  private inARow = 0;
  private readonly outcomes = new SlidingCounts();
  private lastOkAt = Number.NEGATIVE_INFINITY;

  /** No connection could be made, or no check was answered: worse than one that answers with failures. */
  private unreachable = false;
  private openUntil = 0;
  private strikes = 0;
  private closedAt = Number.NEGATIVE_INFINITY;
  private slowStartAt: number | undefined;
  private checksFailed = 0;
  private checksAnswered = 0;

  constructor(
    readonly address: UpstreamAddress,
    readonly connections: C,
    private readonly owner: ReplicaOwner<C>,
    private readonly clock: () => number,
  ) {
    this.name = nameOf(address);
  }

  /** A request goes to this replica. What it gives back belongs into `end`. */
  begin(): number {
    this.inFlight++;
    if (this.breaker !== 'closed') this.trials++;
    return this.era;
  }

  /** The request is over. Exactly once for each `begin`. */
  end(ticket: number, outcome: Outcome): void {
    this.inFlight--;
    if (ticket === this.era) this.learn(outcome, this.clock());
    if (this.retired && !this.busy) this.owner.onFinished(this);
  }

  /** A WebSocket is open: its handshake was a request, and has ended. */
  hold(): void {
    this.sockets++;
  }

  release(): void {
    this.sockets--;
    if (this.retired && !this.busy) this.owner.onFinished(this);
  }

  /** It has requests or sockets. */
  get busy(): boolean {
    return this.inFlight > 0 || this.sockets > 0;
  }

  private learn(outcome: Outcome, now: number): void {
    if (this.breaker !== 'closed') this.trials--;
    if (outcome === 'cancelled') return;
    if (outcome === 'ok') this.lastOkAt = now;
    if (this.breaker !== 'closed') return this.learnFromTrial(outcome, now);
    if (outcome === 'ok') {
      this.inARow = 0;
      this.outcomes.add(OK, now);
      return;
    }
    this.inARow++;
    this.outcomes.add(FAILED, now);
    const cause = this.reasonToOpen(outcome, now);
    if (cause) this.open(cause, outcome === 'connect', now);
  }

  private reasonToOpen(outcome: Outcome, now: number): OpeningCause | undefined {
    const { failuresInARow, failureShare, failureShareOf } = this.owner.settings;
    // Where nothing else could take over, one refused connection is no reason to hold back the rest.
    if (outcome === 'connect' && this.owner.hasOtherUsable(this)) return 'connect';
    if (this.inARow >= failuresInARow) return 'failures in a row';
    const failed = this.outcomes.total(FAILED, now);
    const all = failed + this.outcomes.total(OK, now);
    if (all >= failureShareOf && failed >= failureShare * all) return 'failure share';
    return undefined;
  }

  private learnFromTrial(outcome: Outcome, now: number): void {
    if (outcome === 'ok') {
      this.unreachable = false;
      if (++this.successes >= this.owner.settings.trialSuccesses) this.close(now);
      return;
    }
    this.successes = 0;
    this.unreachable = outcome === 'connect';
    // While open, requests come as a last resort only: they must not make it stay open for longer.
    if (this.breaker === 'half-open')
      this.open(outcome === 'connect' ? 'connect' : 'failures in a row', this.unreachable, now);
  }

  /** What a health check that began at `startedAt` saw. `refused`: nobody listens, which needs no second look. */
  learnFromCheck(health: Health, startedAt: number, refused = false): void {
    const now = this.clock();
    if (health === 'no answer') {
      // Under load a check may be late while requests are answered: these are the better witness.
      if (!refused && this.lastOkAt >= startedAt) return;
      this.health = health;
      this.checksAnswered = 0;
      this.checksFailed++;
      const enough = refused && this.owner.hasOtherUsable(this) ? 1 : this.owner.settings.fall;
      if (this.checksFailed < enough) return;
      if (this.breaker !== 'open') this.open('no answer', true, now);
      this.unreachable = true;
      return;
    }
    if (this.health === 'draining' && health === 'ready') this.slowStartAt = now;
    this.health = health;
    this.checksFailed = 0;
    this.checksAnswered++;
    if (this.breaker !== 'open' || !this.unreachable) return;
    const enough = this.owner.hasOtherUsable(this) ? this.owner.settings.rise : 1;
    if (this.checksAnswered < enough) return;
    this.unreachable = false;
    this.refresh(now);
  }

  /** How good a choice it is for the next request; RANK.none: it has as many as it may. */
  rank(now: number): Rank {
    this.refresh(now);
    if (
      this.breaker === 'closed' ||
      (this.breaker === 'half-open' && this.trials < this.owner.settings.trialRequests)
    ) {
      if (this.health === 'draining') return RANK.draining;
      return this.health === 'not ready' || this.health === 'no answer' ? RANK.notReady : RANK.ready;
    }
    if (this.trials >= this.owner.settings.lastResortRequests) return RANK.none;
    return this.unreachable ? RANK.unreachable : RANK.failing;
  }

  /** Half-opens the breaker when its time has come. One that is unreachable waits for a check that is answered, if there are checks. */
  refresh(now: number): void {
    if (this.breaker !== 'open' || now < this.openUntil) return;
    if (!this.unreachable || this.owner.settings.checkEveryMs === 0) this.change('half-open', undefined);
  }

  /** Of what it would get otherwise: 1, or less during a slow start. */
  share(now: number): number {
    if (this.slowStartAt === undefined) return 1;
    const share = (now - this.slowStartAt) / this.owner.settings.slowStartMs;
    if (share < 1) return Math.max(FIRST_SHARE, share);
    this.slowStartAt = undefined;
    return 1;
  }

  startSlowly(): void {
    this.slowStartAt = this.clock();
  }

  private open(cause: OpeningCause, unreachable: boolean, now: number): void {
    const { openMs, longestOpenMs, forgiveMs } = this.owner.settings;
    if (this.breaker === 'closed' && now - this.closedAt > forgiveMs) this.strikes = 0;
    this.openUntil = now + Math.min(longestOpenMs, openMs * 2 ** this.strikes);
    this.strikes++;
    this.openings++;
    this.unreachable = unreachable;
    this.checksAnswered = 0;
    this.change('open', cause);
  }

  private close(now: number): void {
    this.closedAt = now;
    this.slowStartAt = now;
    this.inARow = 0;
    this.outcomes.clear();
    this.change('closed', undefined);
  }

  private change(to: BreakerState, cause: OpeningCause | undefined): void {
    this.breaker = to;
    this.era++;
    this.trials = 0;
    this.successes = 0;
    this.owner.onBreaker(this, cause);
  }
}
