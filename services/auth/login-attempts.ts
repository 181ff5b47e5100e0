import { networkOf } from '../../shared/auth/network.ts';
import { Problem } from '../../shared/errors.ts';
import type { EphemeralStore } from '../../shared/ports/ephemeral-store.ts';
import {
  type Bucket,
  decisionOf,
  LocalBuckets,
  type TakeAnswer,
  type TakeRequest,
} from '../../shared/ports/token-bucket.ts';
import { within } from '../../shared/wait-for.ts';
import { digestOf } from './operations/secrets.ts';

/** Wrong passwords for one account: ten at once, then one every 90 s, which is ten in a quarter of an hour. */
const PER_ACCOUNT: Bucket = { capacity: 10, perSecond: 1 / 90 };
/** Wrong passwords from one address, where a school of 2,000 may sit that types its new passwords for the first time. */
const PER_ADDRESS: Bucket = { capacity: 200, perSecond: 1 / 6 };
/** How long an address that signed in to an account is trusted with it, in milliseconds. */
const TRUST_MS = 30 * 86_400_000;
/** The shared store must answer, or this process counts for itself. Milliseconds. */
const STORE_MS = 250;
const LOCAL_BUCKETS = 20_000;

export interface LoginAttempts {
  /**
   * Runs a check of a password, which resolves to undefined if it is wrong. Throws `rate-limited` instead when there
   * were too many wrong ones.
   */
  guard<T>(email: string, ip: string, check: () => Promise<T | undefined>): Promise<T | undefined>;
  /** The owner has proved who they are in another way: what was counted for the account counts no more. */
  forgive(email: string): Promise<void>;
}

/**
 * Limits on guessing passwords. Only wrong ones count: a token is taken before the check, so that guesses made at once
 * count as well, and given back if the password was right. Nobody can lock the owner of an account out for long: an
 * address that has signed in to it before is counted apart from the rest of the world, a right password or a reset by
 * mail clears the account, and else it is 90 s to the next try.
 */
export function createLoginAttempts(options: { store: EphemeralStore; scale: number }): LoginAttempts {
  const { store, scale } = options;
  const local = new LocalBuckets(LOCAL_BUCKETS);
  const scaled = ({ capacity, perSecond }: Bucket): Bucket => ({
    capacity: capacity * scale,
    perSecond: perSecond * scale,
  });
  const perAccount = scaled(PER_ACCOUNT);
  const perAddress = scaled(PER_ADDRESS);

  async function take(request: TakeRequest): Promise<TakeAnswer> {
    try {
      const [answer] = await within(store.takeTokensMany([request]), STORE_MS);
      return answer!;
    } catch {
      return local.take(request);
    }
  }

  const giveBack = (request: TakeRequest): Promise<TakeAnswer> => take({ ...request, cost: -1 });

  const isTrusted = (key: string): Promise<boolean> =>
    within(store.get(key), STORE_MS).then(
      (value) => value !== null,
      () => false,
    );

  async function forget(keys: string[]): Promise<void> {
    for (const key of keys) local.delete(key);
    await Promise.all(keys.map((key) => within(store.delete(key), STORE_MS).catch(() => {})));
  }

  return {
    async guard<T>(email: string, ip: string, check: () => Promise<T | undefined>) {
      const account = digestOf(email);
      const network = networkOf(ip);
      const trust = `login-trust:${account}:${network}`;
      const fromAddress = { key: `login-failures:${network}`, ...perAddress };
      // One after the other: an address that is refused must not use up the account's tries.
      const [trusted, first] = await Promise.all([isTrusted(trust), take(fromAddress)]);
      if (!first.allowed) throw tooMany('from this address', fromAddress, first);
      const anywhere = `login-failures:${account}`;
      const here = `${anywhere}:${network}`;
      const onAccount = { key: trusted ? here : anywhere, ...perAccount };
      const second = await take(onAccount);
      if (!second.allowed) {
        await giveBack(fromAddress);
        throw tooMany('for this account', onAccount, second);
      }
      let owner: T | undefined;
      try {
        owner = await check();
      } catch (error) {
        await Promise.all([giveBack(fromAddress), giveBack(onAccount)]);
        throw error;
      }
      if (owner !== undefined) {
        await Promise.all([
          giveBack(fromAddress),
          forget([anywhere, here]),
          within(store.set(trust, '1', TRUST_MS), STORE_MS).catch(() => {}),
        ]);
      }
      return owner;
    },
    forgive: (email) => forget([`login-failures:${digestOf(email)}`]),
  };
}

const tooMany = (where: string, bucket: Bucket, answer: TakeAnswer): Problem =>
  new Problem('rate-limited', `Too many wrong passwords ${where}. Try again later.`, {
    retryAfter: decisionOf(bucket, 1, answer).resetMs / 1_000,
  });
