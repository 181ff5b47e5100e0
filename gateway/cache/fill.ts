import type { ResponseHead } from '../http/head.ts';
import { type Lifetime, lifetimeOf } from './freshness.ts';
import { CachedReply } from './store.ts';

/** How asking the service ended: kept; not to be kept; failed; or whoever asked went away before it was known. */
export type FillOutcome = 'kept' | 'passed' | 'failed' | 'left';

/** For a reply that may be used this once. */
const SPENT: Lifetime = { freshMs: 0, staleWhileRevalidateMs: 0, staleIfErrorMs: 0, ageMs: 0 };

/** One reply on its way into the cache, and those who wait for it instead of asking too. */
export class Fill {
  outcome: FillOutcome | undefined;
  /** What came of it. */
  reply: CachedReply | undefined;
  /** The client gets this, whatever the service sends. */
  substitute: CachedReply | undefined;
  private waiting: (() => void)[] = [];
  private head: ResponseHead | undefined;
  private lifetime: Lifetime | undefined;
  private pieces: Uint8Array[] = [];
  private size = 0;

  constructor(
    readonly path: string,
    /** What is asked for, before it is known which headers the reply depends on. */
    readonly resource: string,
    readonly key: string,
    /** What is to be replaced. */
    readonly stale: CachedReply | undefined,
    private readonly maxBytes: number,
    private readonly onSettled: (fill: Fill) => void,
  ) {}

  /** Never rejects. */
  settled(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  /** Looks at the head of the service's reply. `renewed`: what was kept still holds, and is now `reply`. */
  take(head: ResponseHead): 'renewed' | 'recording' | 'passed' {
    const { stale } = this;
    if (head.status === 304 && stale) {
      const merged = stale.headAfter(head);
      const lifetime = lifetimeOf(merged);
      this.reply = new CachedReply(this.path, merged, lifetime ?? SPENT, stale.body, Date.now());
      this.settle(lifetime ? 'kept' : 'passed');
      return 'renewed';
    }
    const lifetime = head.contentLength > this.maxBytes ? undefined : lifetimeOf(head);
    if (!lifetime) {
      this.settle('passed');
      return 'passed';
    }
    this.lifetime = lifetime;
    this.head = { ...head, headers: [...head.headers], reuse: undefined };
    return 'recording';
  }

  get recording(): boolean {
    return this.lifetime !== undefined && this.outcome === undefined;
  }

  add(piece: Uint8Array): void {
    if (!this.recording) return;
    this.size += piece.byteLength;
    if (this.size > this.maxBytes) this.settle('passed');
    else this.pieces.push(piece);
  }

  /** All of it is here. */
  end(): void {
    if (!this.recording) return;
    const body = Buffer.concat(this.pieces);
    this.reply = new CachedReply(this.path, this.head!, this.lifetime!, body, Date.now());
    this.settle('kept');
  }

  settle(outcome: FillOutcome): void {
    if (this.outcome) return;
    this.outcome = outcome;
    this.pieces = [];
    this.onSettled(this);
    for (const resolve of this.waiting) resolve();
    this.waiting = [];
  }
}
