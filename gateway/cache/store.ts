import type { Exchange } from '../exchange.ts';
import type { ResponseHead } from '../http/head.ts';
import { type HeaderList, headerOf } from '../http/headers.ts';
import { type Coding, compressNow } from '../policy/content-coding.ts';
import { type Lifetime, varyOf } from './freshness.ts';

/** What an entry costs beside its texts and bytes. */
const ENTRY_BYTES = 1_024;
/** Said anew by each reply from the cache, or for the hop that it came over. */
const NOT_KEPT = new Set([
  'age',
  'cache-status',
  'connection',
  'content-length',
  'keep-alive',
  'trailer',
  'transfer-encoding',
]);

/** A reply that is kept. */
export class CachedReply {
  readonly status: number;
  readonly reason: string;
  readonly headers: HeaderList = [];
  readonly etag: string | undefined;
  /** Names of request headers that it depends on. */
  readonly vary: readonly string[];
  readonly lifetime: Lifetime;
  private readonly coded = new Map<Coding, Uint8Array>();

  constructor(
    readonly path: string,
    head: ResponseHead,
    lifetime: Lifetime,
    readonly body: Uint8Array,
    /** As `Date.now()`. */
    readonly storedAt: number,
  ) {
    this.status = head.status;
    this.reason = head.reason;
    this.lifetime = lifetime;
    for (let index = 0; index < head.headers.length; index += 2) {
      const name = head.headers[index]!;
      if (!NOT_KEPT.has(name) && !head.hopByHop.includes(name))
        this.headers.push(name, head.headers[index + 1]!);
    }
    this.etag = headerOf(this.headers, 'etag');
    this.vary = varyOf(this.headers);
  }

  /** For a client, at that time. */
  headAt(now: number): ResponseHead {
    return {
      status: this.status,
      reason: this.reason,
      minor: 1,
      headers: [...this.headers, 'age', String(this.age(now))],
      contentLength: this.body.byteLength,
      chunked: false,
      keepAlive: true,
      upgrade: '',
      hopByHop: [],
      reuse: undefined,
    };
  }

  /** After the service has said that it still holds (RFC 9111, 4.3.4): what it says now counts. */
  headAfter({ headers: news }: ResponseHead): ResponseHead {
    const headers: HeaderList = [];
    for (let index = 0; index < news.length; index += 2) {
      if (!NOT_KEPT.has(news[index]!)) headers.push(news[index]!, news[index + 1]!);
    }
    for (let index = 0; index < this.headers.length; index += 2) {
      if (headerOf(news, this.headers[index]!) === undefined)
        headers.push(this.headers[index]!, this.headers[index + 1]!);
    }
    const age = headerOf(news, 'age');
    return { ...this.headAt(0), headers: age === undefined ? headers : [...headers, 'age', age] };
  }

  /** In seconds, since the service made it. */
  age(now: number): number {
    return Math.max(0, Math.floor((this.lifetime.ageMs + now - this.storedAt) / 1_000));
  }

  /** How long it is fresh yet, in milliseconds; negative: it is stale. */
  freshFor(now: number): number {
    return this.lifetime.freshMs - this.lifetime.ageMs - (now - this.storedAt);
  }

  /** The body in that coding, made at the first need. */
  bodyIn(coding: Coding): Uint8Array {
    let body = this.coded.get(coding);
    if (!body) {
      body = compressNow(coding, this.body);
      this.coded.set(coding, body);
    }
    return body;
  }

  get bytes(): number {
    let sum = ENTRY_BYTES + this.path.length + this.body.byteLength;
    for (const text of this.headers) sum += text.length;
    for (const body of this.coded.values()) sum += body.byteLength;
    return sum;
  }
}

interface Resource {
  vary: readonly string[];
  /** Keys of its replies. */
  keys: Set<string>;
}

/** Replies by what was asked for, bounded by bytes and number: what was used last stays. */
export class CacheStore {
  /** The one used last is the last one. */
  private readonly replies = new Map<string, { reply: CachedReply; resource: string; bytes: number }>();
  private readonly resources = new Map<string, Resource>();
  bytes = 0;
  evicted = 0;

  constructor(
    private readonly maxBytes: number,
    private readonly maxEntries: number,
  ) {}

  get size(): number {
    return this.replies.size;
  }

  /** Something is kept for it, if perhaps for other headers. */
  knows(resource: string): boolean {
    return this.resources.has(resource);
  }

  /** What a reply to this exchange is kept as, as far as it is known which headers it depends on. */
  keyOf(resource: string, exchange: Exchange): string {
    const known = this.resources.get(resource);
    return known === undefined ? resource : keyWith(resource, known.vary, exchange);
  }

  get(key: string): CachedReply | undefined {
    const found = this.replies.get(key);
    if (!found) return undefined;
    this.replies.delete(key);
    this.replies.set(key, found);
    return found.reply;
  }

  /** The exchange tells the values of the headers that the reply depends on. */
  set(resource: string, exchange: Exchange, reply: CachedReply): void {
    let known = this.resources.get(resource);
    if (known && known.vary.join() !== reply.vary.join()) {
      this.deleteResource(resource);
      known = undefined;
    }
    known ??= { vary: reply.vary, keys: new Set() };
    this.resources.set(resource, known);
    const key = keyWith(resource, known.vary, exchange);
    this.remove(key, false);
    const bytes = reply.bytes + resource.length;
    known.keys.add(key);
    this.replies.set(key, { reply, resource, bytes });
    this.bytes += bytes;
    this.shrink();
  }

  /** It has grown: compressed forms are kept with it. */
  recount(key: string): void {
    const entry = this.replies.get(key);
    if (!entry) return;
    const bytes = entry.reply.bytes + entry.resource.length;
    this.bytes += bytes - entry.bytes;
    entry.bytes = bytes;
    this.shrink();
  }

  delete(key: string): void {
    this.remove(key, true);
  }

  /** Of every path that begins so. Returns how many there were. */
  purge(pathPrefix: string): number {
    let count = 0;
    for (const [key, { reply }] of this.replies) {
      if (!reply.path.startsWith(pathPrefix)) continue;
      this.remove(key, true);
      count++;
    }
    return count;
  }

  private deleteResource(resource: string): void {
    for (const key of this.resources.get(resource)?.keys ?? []) this.remove(key, true);
  }

  private remove(key: string, forgetResource: boolean): void {
    const entry = this.replies.get(key);
    if (!entry) return;
    this.replies.delete(key);
    this.bytes -= entry.bytes;
    const resource = this.resources.get(entry.resource);
    resource?.keys.delete(key);
    if (forgetResource && resource?.keys.size === 0) this.resources.delete(entry.resource);
  }

  private shrink(): void {
    for (const key of this.replies.keys()) {
      if (this.bytes <= this.maxBytes && this.replies.size <= this.maxEntries) return;
      this.remove(key, true);
      this.evicted++;
    }
  }
}

function keyWith(resource: string, vary: readonly string[], exchange: Exchange): string {
  const { headers } = exchange.head;
  let key = resource;
  for (const name of vary) {
    // Stands in no header and no target.
    key += '\n';
    for (let index = 0; index < headers.length; index += 2)
      if (headers[index] === name) key += `${headers[index + 1]},`;
  }
  return key;
}
