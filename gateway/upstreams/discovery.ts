import type { Log } from '../../shared/observability/log.ts';
import { type NameResolver, type ResolvedAddress, resolveTarget } from './resolve.ts';
import { nameOf, type UpstreamTarget } from './targets.ts';

/** A DNS server that is silent is given up on, in milliseconds. */
const TIMEOUT_MS = 10_000;
/** A name is not looked up again sooner, in milliseconds, whatever happens. */
const LEAST_PAUSE_MS = 1_000;

/**
 * What the targets of a service stand for, looked up again and again. A name that can't be looked up keeps the addresses
 * it had: whether somebody is there is for requests and health checks to find out.
 */
export class Discovery {
  /** When names should be looked up next, by `clock`. Infinity: being looked up, or nothing to look up. */
  dueAt = Number.POSITIVE_INFINITY;
  /** Why names could not be looked up last. */
  error: string | undefined;
  private lastAt = Number.NEGATIVE_INFINITY;
  private readonly known = new Map<string, ResolvedAddress[]>();

  constructor(
    private targets: UpstreamTarget[],
    private readonly resolver: NameResolver,
    private readonly everyMs: number,
    private readonly clock: () => number,
    private readonly log: Log,
    private readonly onAddresses: (addresses: ResolvedAddress[]) => void,
  ) {}

  /** Looks up what the targets stand for and tells it. Never rejects. */
  async run(): Promise<void> {
    const { targets } = this;
    this.dueAt = Number.POSITIVE_INFINITY;
    const found = await this.lookUp(targets);
    // Replaced meanwhile: `reload` tells.
    if (targets !== this.targets) return;
    this.use(found);
  }

  /** Other targets from now on. Rejects, and leaves all as it was, if none of them stands for any address. */
  async reload(targets: UpstreamTarget[]): Promise<void> {
    const before = this.targets;
    this.targets = targets;
    const found = await this.lookUp(targets);
    if (targets !== this.targets) return;
    if (found.addresses.length === 0) {
      this.targets = before;
      this.planNext();
      throw new Error(`The new upstreams are not used: ${found.error}`);
    }
    for (const url of this.known.keys()) {
      if (!targets.some((target) => target.url === url)) this.known.delete(url);
    }
    this.use(found);
  }

  /** Somebody is gone: DNS may know of others by now. */
  lookAgainSoon(): void {
    if (this.dueAt !== Number.POSITIVE_INFINITY)
      this.dueAt = Math.min(this.dueAt, Math.max(this.clock(), this.lastAt + LEAST_PAUSE_MS));
  }

  private use({ addresses, error }: Found): void {
    if (error && error !== this.error) this.log.warn({ reason: error }, 'upstreams can not be looked up');
    if (!error && this.error) this.log.info({}, 'upstreams can be looked up again');
    this.error = error;
    this.lastAt = this.clock();
    this.planNext(addresses.length === 0);
    this.onAddresses(addresses);
  }

  private planNext(urgent = false): void {
    if (this.targets.every(({ kind }) => kind === 'static')) return;
    this.dueAt = this.clock() + (urgent ? Math.min(LEAST_PAUSE_MS, this.everyMs) : this.everyMs);
  }

  private async lookUp(targets: UpstreamTarget[]): Promise<Found> {
    const errors: string[] = [];
    const lists = await Promise.all(
      targets.map(async (target) => {
        try {
          const addresses = await inTime(resolveTarget(target, this.resolver));
          this.known.set(target.url, addresses);
          return addresses;
        } catch (error) {
          errors.push(`${target.url}: ${error instanceof Error ? error.message : String(error)}`);
          return this.known.get(target.url) ?? [];
        }
      }),
    );
    const unique = new Map(lists.flat().map((entry) => [nameOf(entry.address), entry]));
    return { addresses: [...unique.values()], error: errors.length > 0 ? errors.join('; ') : undefined };
  }
}

interface Found {
  addresses: ResolvedAddress[];
  error: string | undefined;
}

function inTime<T>(answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no answer in time')), TIMEOUT_MS);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
