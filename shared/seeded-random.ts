/** Numbers from 0 up to 1 that look random and are the same for the same seed, everywhere (mulberry32). */
export function seededFractions(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from 0 on, below the limit. */
export type Random = (limit: number) => number;

/** The same as whole numbers. */
export function seededRandom(seed: number): Random {
  const next = seededFractions(seed);
  return (limit) => Math.floor(next() * limit);
}
