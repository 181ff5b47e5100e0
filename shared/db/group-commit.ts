import { isUnavailable } from '../errors.ts';

export interface GroupCommitOptions<In> {
  /** Items of one batch at most. */
  most: number;
  /** Batches under way at once; items with the same key are never in two of them, so each key keeps its order. */
  lanes: number;
  /** Milliseconds between the beginnings of two batches at least; who comes after a pause waits for nothing. */
  everyMs: number;
  keyOf(item: In): string;
}

export interface Committed<Out> {
  /** One for each item, in their order; undefined for those left to the next stage. */
  results: (Out | undefined)[];
  /** What remains to be done once the next batch is under way, before the results are told. */
  after(): void;
}

/** Resolves having kept those items that it has results for, or rejects having kept none of them. */
export type Stage<In, Out> = (items: In[]) => Promise<Committed<Out>>;

interface Waiting<In, Out> {
  item: In;
  settle: (result: Out) => void;
  fail: (error: unknown) => void;
}

/**
 * Gathers items that can share a transaction. What comes in one turn of the event loop, and while a batch is under
 * way, goes together in the next one, so batches grow with the load. The first stage gets the items in
 * the order of their coming; what it leaves over goes to the next. The last one leaves nothing.
 *
 * When a stage rejects, halves are tried, so that an item nobody can store refuses only itself. An outage is not the
 * items' fault and is told to all of them. (Whether a commit whose connection broke was kept, nobody knows:
 * items must bear being said again.)
 */
export class GroupCommit<In, Out> {
  /** By key, those that waited longest first; a key's own items in the order of their coming. */
  readonly #waiting = new Map<string, Waiting<In, Out>[]>();
  readonly #busy = new Set<string>();
  #underWay = 0;
  /** `performance.now()` of the last batch's beginning. */
  #begunAt = Number.NEGATIVE_INFINITY;
  #due = false;

  constructor(
    private readonly stages: readonly Stage<In, Out>[],
    private readonly options: GroupCommitOptions<In>,
  ) {}

  /** Resolves with the item's result once its batch has been committed. */
  add(item: In): Promise<Out> {
    return new Promise((settle, fail) => {
      const key = this.options.keyOf(item);
      const waiting = { item, settle, fail };
      const queue = this.#waiting.get(key);
      if (queue) queue.push(waiting);
      else this.#waiting.set(key, [waiting]);
      this.#beginSoon();
    });
  }

  /** At the end of this turn of the event loop, so that what has arrived already goes along. */
  #beginSoon(): void {
    if (this.#due || this.#underWay === this.options.lanes || this.#waiting.size === 0) return;
    this.#due = true;
    const begin = (): void => {
      this.#due = false;
      this.#begin();
    };
    const pause = this.#pause();
    if (pause > 0) setTimeout(begin, pause);
    else setImmediate(begin);
  }

  /** Milliseconds until the next batch may begin. */
  #pause(): number {
    return this.#begunAt + this.options.everyMs - performance.now();
  }

  #begin(): void {
    while (this.#underWay < this.options.lanes) {
      if (this.#pause() > 0) return this.#beginSoon();
      const { keys, batch } = this.#take();
      if (batch.length === 0) return;
      this.#begunAt = performance.now();
      for (const key of keys) this.#busy.add(key);
      this.#underWay++;
      void this.#run(batch, () => {
        for (const key of keys) this.#busy.delete(key);
        this.#underWay--;
      });
    }
  }

  /** Those that may go now: none whose key is under way. */
  #take(): { keys: string[]; batch: Waiting<In, Out>[] } {
    const keys: string[] = [];
    const batch: Waiting<In, Out>[] = [];
    for (const [key, queue] of this.#waiting) {
      if (batch.length >= this.options.most) break;
      if (this.#busy.has(key)) continue;
      keys.push(key);
      const room = this.options.most - batch.length;
      this.#waiting.delete(key);
      batch.push(...queue.slice(0, room));
      if (queue.length > room) this.#waiting.set(key, queue.slice(room));
    }
    return { keys, batch };
  }

  /** `done` frees the batch's place, once. */
  async #run(batch: Waiting<In, Out>[], done: () => void, stage = 0): Promise<void> {
    let committed: Committed<Out>;
    try {
      committed = await this.stages[stage]!(batch.map(({ item }) => item));
    } catch (error) {
      if (batch.length > 1 && !isUnavailable(error)) {
        const half = batch.length >> 1;
        try {
          await this.#run(batch.slice(0, half), () => {}, stage);
        } finally {
          await this.#run(batch.slice(half), done, stage);
        }
        return;
      }
      done();
      this.#beginSoon();
      for (const { fail } of batch) fail(error);
      return;
    }
    const left = batch.filter((_, index) => committed.results[index] === undefined);
    // The database works on what comes next while this is told to everybody.
    const rest = left.length > 0 ? this.#run(left, done, stage + 1) : undefined;
    if (!rest) {
      done();
      this.#begin();
    }
    try {
      committed.after();
    } finally {
      for (const [index, { settle }] of batch.entries()) {
        const result = committed.results[index];
        if (result !== undefined) settle(result);
      }
      this.#beginSoon();
      await rest;
    }
  }
}
