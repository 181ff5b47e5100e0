import type { Bucket, TakeAnswer, TakeRequest, TokenDecision } from './token-bucket.ts';

export type { TokenDecision } from './token-bucket.ts';

/** Shared state that may be lost: revocations, limits, presence, signals between processes. */
export interface EphemeralStore {
  get(key: string): Promise<string | null>;
  getMany(keys: string[]): Promise<(string | null)[]>;
  /** `ttlMs` in milliseconds; every key has one, so that nothing is kept for ever. */
  set(key: string, value: string, ttlMs: number): Promise<void>;
  /** Takes away a value, or makes a bucket full. */
  delete(key: string): Promise<void>;
  /** Takes `cost` tokens from a bucket that holds `capacity` and refills at `perSecond`, in one atomic step. */
  takeTokens(key: string, bucket: Bucket & { cost?: number }): Promise<TokenDecision>;
  /** The same for many buckets in one round trip, one after the other; answers in the order of the requests. */
  takeTokensMany(requests: readonly TakeRequest[]): Promise<TakeAnswer[]>;
  /** Adds a member to a set for `ttlMs`; said again, it stays longer. True if it was not in the set before. */
  touchMember(set: string, member: string, ttlMs: number): Promise<boolean>;
  /** True if it was in the set. */
  removeMember(set: string, member: string): Promise<boolean>;
  /** The members whose time has not run out. */
  members(set: string): Promise<string[]>;
  /** Best effort, to every process that listens now. */
  publish(channel: string, message: string): Promise<void>;
  /** Listens to a channel, across reconnects. Returns how to stop. */
  subscribe(channel: string, listener: (message: string) => void): Promise<() => Promise<void>>;
  /** Rejects when the store can't be reached. */
  ready(): Promise<void>;
  close(): Promise<void>;
}
