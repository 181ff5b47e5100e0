import { isUnavailable } from '../errors.ts';

export interface GroupCommitOptions<In> {
  /** Items of one batch at most. */
  most: number;
  /** Batches under way at once; items with the same key are never in two of them, so each key keeps its order. */
  lanes: number;
  keyOf(item: In): string;
}

interface Waiting<In, Out> {
  item: In;
  settle: (result: Out) => void;
  fail: (error: unknown) => void;
}

/**
 * Gathers items that can share a transaction. What comes in one turn of the event loop, and while a batch is under
 * way, goes together in the next one, so batches grow with the load and nobody waits for a timer. `commit` gets the items in
 * the order of their coming and resolves with one result each, or rejects having kept none of them.
 *
 * When it rejects, halves are tried, so that an item nobody can store refuses only itself. An outage is not the
 * items' fault and is told to all of them. (Whether a commit whose connection broke was kept, nobody knows:
 * items must bear being said again.)
 */
export class GroupCommit<In, Out> {
  #waiting: Waiting<In, Out>[] = [];
  readonly #busy = new Set<string>();
  #underWay = 0;
  #due: ReturnType<typeof setImmediate> | undefined;

  constructor(
    private readonly commit: (items: In[]) => Promise<Out[]>,
    private readonly options: GroupCommitOptions<In>,
  ) {}

  /** Resolves with the item's result once its batch has been committed. */
  add(item: In): Promise<Out> {
    return new Promise((settle, fail) => {
      this.#waiting.push({ item, settle, fail });
      this.#beginSoon();
    });
  }

  /** At the end of this turn of the event loop, so that what has arrived already goes along. */
  #beginSoon(): void {
    if (this.#underWay === this.options.lanes) return;
    this.#due ??= setImmediate(() => {
      this.#due = undefined;
      this.#begin();
    });
  }

  #begin(): void {
    while (this.#underWay < this.options.lanes && this.#waiting.length > 0) {
      const batch = this.#take();
      if (batch.length === 0) return;
      const keys = new Set(batch.map(({ item }) => this.options.keyOf(item)));
      for (const key of keys) this.#busy.add(key);
      this.#underWay++;
      void this.#run(batch).finally(() => {
        for (const key of keys) this.#busy.delete(key);
        this.#underWay--;
        this.#beginSoon();
      });
    }
  }

  /** Those that may go now: in order, none whose key is under way. */
  #take(): Waiting<In, Out>[] {
    const batch: Waiting<In, Out>[] = [];
    const left: Waiting<In, Out>[] = [];
    for (const waiting of this.#waiting) {
      const free = batch.length < this.options.most && !this.#busy.has(this.options.keyOf(waiting.item));
      (free ? batch : left).push(waiting);
    }
    this.#waiting = left;
    return batch;
  }

  async #run(batch: Waiting<In, Out>[]): Promise<void> {
    try {
      const results = await this.commit(batch.map(({ item }) => item));
      for (const [index, { settle }] of batch.entries()) settle(results[index]!);
    } catch (error) {
      if (batch.length === 1 || isUnavailable(error)) {
        for (const { fail } of batch) fail(error);
        return;
      }
      const half = batch.length >> 1;
      await this.#run(batch.slice(0, half));
      await this.#run(batch.slice(half));
    }
  }
}
