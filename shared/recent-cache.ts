/** What a RecentCache keeps: its reader sets `used`, which costs nothing; the cache clears it. */
export interface Recent {
  used: boolean;
}

/**
 * A map of at most `limit` entries that lets go of those that were not read for long ("second chance", Corbató 1968):
 * the oldest goes, unless it was used since it was last considered. A look-up is one look-up in a Map; nothing is moved.
 */
export class RecentCache<V extends Recent> {
  private readonly entries = new Map<string, V>();

  constructor(
    private readonly limit: number,
    private readonly onEvicted?: (value: V) => void,
  ) {}

  get size(): number {
    return this.entries.size;
  }

  /** The entry; counts as a use of it. */
  get(key: string): V | undefined {
    const entry = this.entries.get(key);
    if (entry !== undefined) entry.used = true;
    return entry;
  }

  set(key: string, value: V): void {
    if (this.entries.size >= this.limit && !this.entries.has(key)) this.evictOne();
    this.entries.set(key, value);
  }

  delete(key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    this.entries.delete(key);
    this.onEvicted?.(entry);
  }

  clear(): void {
    const all = [...this.entries.values()];
    this.entries.clear();
    if (this.onEvicted) for (const entry of all) this.onEvicted(entry);
  }

  values(): IterableIterator<V> {
    return this.entries.values();
  }

  private evictOne(): void {
    // Ends: what is put back at the end is no longer marked as used.
    for (const [key, entry] of this.entries) {
      this.entries.delete(key);
      if (!entry.used) {
        this.onEvicted?.(entry);
        return;
      }
      entry.used = false;
      this.entries.set(key, entry);
    }
  }
}
