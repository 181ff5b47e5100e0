import { RANK, type Replica } from './replica.ts';

/** SRV priorities are below. */
const PRIORITIES = 65_536;

/**
 * Power of two choices: of two replicas taken at random among the best, the one with fewer requests in flight
 * (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
 */
export class Chooser<C> {
  /** Kept, so that a choice allocates nothing. */
  private readonly candidates: Replica<C>[] = [];

  constructor(private readonly random: () => number) {}

  choose(
    replicas: readonly Replica<C>[],
    tried: readonly Replica<C>[],
    now: number,
    forSocket: boolean,
  ): Replica<C> | undefined {
    const { candidates } = this;
    let best = RANK.none * PRIORITIES;
    let count = 0;
    for (let index = 0; index < replicas.length; index++) {
      const replica = replicas[index]!;
      if (tried.includes(replica)) continue;
      const order = replica.rank(now) * PRIORITIES + replica.priority;
      if (order > best || order >= RANK.none * PRIORITIES) continue;
      if (order < best) count = 0;
      best = order;
      candidates[count++] = replica;
    }
    if (count > 1) count = this.leaveOutSlowStarters(count, now);
    if (count <= 1) return count === 1 ? candidates[0] : undefined;
    const first = this.draw(count);
    const one = candidates[first]!;
    candidates[first] = candidates[count - 1]!;
    const other = candidates[this.draw(count - 1)]!;
    // Sockets are idle most of the time: they are spread among themselves, and say little about the load by requests.
    const loadOfOne = forSocket ? one.sockets : one.inFlight;
    const loadOfOther = forSocket ? other.sockets : other.inFlight;
    return loadOfOther * one.weight < loadOfOne * other.weight ? other : one;
  }

  /** Lets go of the replicas of the last choice. */
  forget(): void {
    this.candidates.length = 0;
  }

  /** Each slow starter stays in with the probability of its share: by load alone an empty one would get everything. */
  private leaveOutSlowStarters(count: number, now: number): number {
    const { candidates } = this;
    let kept = 0;
    for (let index = 0; index < count; index++) {
      const replica = candidates[index]!;
      const share = replica.share(now);
      if (share < 1 && this.random() >= share) continue;
      // Swapped, not overwritten: if none stays, all do.
      candidates[index] = candidates[kept]!;
      candidates[kept++] = replica;
    }
    return kept === 0 ? count : kept;
  }

  /** The index of one of the first `count` candidates, at random by weight. */
  private draw(count: number): number {
    const { candidates } = this;
    let total = 0;
    for (let index = 0; index < count; index++) total += candidates[index]!.weight;
    let left = this.random() * total;
    for (let index = 0; index < count - 1; index++) {
      left -= candidates[index]!.weight;
      if (left < 0) return index;
    }
    return count - 1;
  }
}
