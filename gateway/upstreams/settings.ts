/** How one upstream is watched and bounded. Times in milliseconds. */
export interface UpstreamSettings {
  /** Requests in flight at a time; more wait. */
  maxInFlight: number;
  /** Requests that may wait for a place, and for how long. */
  maxQueued: number;
  queueMs: number;

  /** A replica is asked how it is; 0: never. */
  checkEveryMs: number;
  /** It must answer in that time. More than the 2 s that a service gives its own dependencies. */
  checkTimeoutMs: number;
  /** Checks in a row without an answer that take a replica out, and with one that bring it back. */
  fall: number;
  rise: number;

  /** Failures in a row that open a replica's breaker. */
  failuresInARow: number;
  /** Or this share of at least so many requests of the last ten seconds. */
  failureShare: number;
  failureShareOf: number;
  /** How long a breaker stays open at first; twice as long each time, up to the longest. */
  openMs: number;
  longestOpenMs: number;
  /** Closed for so long, its earlier openings are forgotten. */
  forgiveMs: number;
  /** Half-open: requests let through at a time, and successes in a row that close it. */
  trialRequests: number;
  trialSuccesses: number;
  /** When no replica is usable, each open one gets at most so many requests at a time: trying beats giving up, up to a point. */
  lastResortRequests: number;

  /** A replica that is new or came back gets a growing share for so long. */
  slowStartMs: number;

  /** Retries: this share of the requests of the last ten seconds, and so many a second besides. */
  retryShare: number;
  retriesPerSecond: number;

  /** Names are looked up again. */
  resolveEveryMs: number;
}

export const DEFAULT_UPSTREAM_SETTINGS: UpstreamSettings = {
  maxInFlight: 1_024,
  maxQueued: 512,
  queueMs: 1_000,
  checkEveryMs: 2_000,
  checkTimeoutMs: 3_000,
  fall: 2,
  rise: 2,
  failuresInARow: 5,
  failureShare: 0.5,
  failureShareOf: 20,
  openMs: 1_000,
  longestOpenMs: 30_000,
  forgiveMs: 60_000,
  trialRequests: 3,
  trialSuccesses: 3,
  lastResortRequests: 32,
  slowStartMs: 10_000,
  retryShare: 0.2,
  retriesPerSecond: 10,
  resolveEveryMs: 5_000,
};
