import { unavailable } from '../../shared/errors.ts';

interface Waiting {
  since: number;
  resolve: () => void;
  reject: (error: Error) => void;
}

/** Retry-After of those turned away, in seconds. */
const RETRY_AFTER = 1;

/** Bounds the requests in flight to one upstream, so that a slow service can not take what others need. */
export class Bulkhead {
  inFlight = 0;
  /** Turned away because the queue was full; because they had waited for too long. */
  refused = 0;
  timedOut = 0;
  private readonly queue: Waiting[] = [];
  /** Where the queue begins: those before it have been served. */
  private first = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly name: string,
    private readonly settings: { maxInFlight: number; maxQueued: number; queueMs: number },
  ) {}

  get queued(): number {
    return this.queue.length - this.first;
  }

  /** A place: undefined, it is there; a promise, it is being waited for, first come, first served. */
  enter(): undefined | Promise<void> {
    if (this.inFlight < this.settings.maxInFlight) {
      this.inFlight++;
      return undefined;
    }
    if (this.queued >= this.settings.maxQueued) {
      this.refused++;
      return Promise.reject(this.tooMany('the queue is full'));
    }
    return new Promise((resolve, reject) => {
      this.queue.push({ since: performance.now(), resolve, reject });
      this.timer ??= setTimeout(this.expire, this.settings.queueMs);
    });
  }

  /** Gives the place back; who waits longest has it now. */
  leave(): void {
    const next = this.take();
    if (next) next.resolve();
    else this.inFlight--;
  }

  /** Turns away all who wait. */
  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    for (let next = this.take(); next; next = this.take()) next.reject(this.tooMany('stopping'));
  }

  private take(): Waiting | undefined {
    if (this.queued === 0) return undefined;
    const next = this.queue[this.first++];
    if (this.queued === 0 || this.first > this.settings.maxQueued) {
      this.queue.splice(0, this.first);
      this.first = 0;
    }
    return next;
  }

  /** One timer for the queue, and only while there is one: its head has waited longest. */
  private readonly expire = (): void => {
    this.timer = undefined;
    const late = performance.now() - this.settings.queueMs + 1;
    while (this.queued > 0 && this.queue[this.first]!.since <= late) {
      this.timedOut++;
      this.take()!.reject(this.tooMany('no place came free in time'));
    }
    if (this.queued === 0) return;
    const wait = this.queue[this.first]!.since - late + 1;
    this.timer = setTimeout(this.expire, wait);
  };

  private tooMany(reason: string): Error {
    return unavailable(
      `The ${this.name} service`,
      new Error(`${this.inFlight} requests in flight, ${reason}`),
      RETRY_AFTER,
    );
  }
}
