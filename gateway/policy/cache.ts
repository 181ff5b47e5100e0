import { Counter, Gauge, type Registry } from 'prom-client';
import type { ServiceName } from '../../shared/contracts/common.ts';
import { matchesEtag } from '../../shared/http/etag.ts';
import { newId } from '../../shared/ids.ts';
import type { Log } from '../../shared/observability/log.ts';
import type { EphemeralStore } from '../../shared/ports/ephemeral-store.ts';
import { PURGE_CHANNEL } from '../../shared/ports/gateway-purge.ts';
import { Fill } from '../cache/fill.ts';
import { Refresh } from '../cache/refresh.ts';
import { type CachedReply, CacheStore } from '../cache/store.ts';
import { type Exchange, UNKNOWN_LENGTH } from '../exchange.ts';
import { changeHeaders, type ResponseHead } from '../http/head.ts';
import { type HeaderList, headerOf, removeHeader } from '../http/headers.ts';
import { type ForwardingHeaders, replyLines } from '../proxy/headers.ts';
import type { HttpPool, ReplyFilter, ReplySink } from '../proxy/http.ts';
import { agreeOnCoding } from './compress.ts';

export interface ResponseCache {
  /** Answers an exchange with what is kept, lets it wait for a reply under way, or lets it go on. */
  lookUp(exchange: Exchange): void | Promise<void>;
  /** Looks at the head of a service's reply; stands before every filter that changes it. */
  decide: ReplyFilter;
  /** Keeps the body, or puts the kept one in its place; stands next to the service. */
  record: ReplyFilter;
  /** In place of an error, what was kept, if the service allowed that. */
  answerStale(exchange: Exchange): boolean;
  /** The exchange is over, however it ended. */
  finished(exchange: Exchange): void;
  /** Here and in every other gateway, all whose path begins so. Not `shared`: the others could not be told. */
  purge(pathPrefix: string): Promise<{ purged: number; shared: boolean }>;
  stop(): Promise<void>;
}

interface CacheOptions {
  /** 0: nothing is kept. */
  maxBytes: number;
  pools: Record<ServiceName, HttpPool>;
  names: ForwardingHeaders;
  ephemeral: EphemeralStore;
  registry: Registry;
  log: Log;
}

const MAX_ENTRIES = 10_000;
const MAX_REPLY_BYTES = 1_048_576;
const MAX_TARGET_LENGTH = 2_048;
/** What may not be kept is asked for without waiting for each other for so long, in milliseconds. */
const PASS_MS = 10_000;
const MAX_PASSES = 10_000;
/** A refresh that failed is not tried again sooner, in milliseconds. */
const REFRESH_PAUSE_MS = 1_000;
/** Our name in Cache-Status (RFC 9211). */
const NAME = 'lyceum';

/**
 * Keeps replies of services to requests without a token that say that anybody may (RFC 9111): `public`, with a time. One
 * request fetches what many ask for. Clients can't make it ask anew: what a request's Cache-Control says is advice (RFC
 * 9111, 5.2.1), and whoever heeds it can be made to wear out what is behind.
 */
export function createResponseCache(options: CacheOptions): ResponseCache {
  const { pools, names, ephemeral, log } = options;
  const enabled = options.maxBytes > 0;
  const store = new CacheStore(options.maxBytes, MAX_ENTRIES);
  const maxReplyBytes = Math.min(MAX_REPLY_BYTES, options.maxBytes / 8);
  const fills = new Map<string, Fill>();
  const passes = new Map<string, number>();
  const refreshAfter = new Map<string, number>();
  const counts = { hit: 0, stale: 0, miss: 0, coalesced: 0, renewed: 0, bypass: 0 };
  observe(options.registry, store, counts);
  let generation = 0;
  /** Tells our own messages from those of others. */
  const self = newId();

  function lookUp(exchange: Exchange): void | Promise<void> {
    if (!enabled || exchange.rule!.token === 'required') return;
    if (exchange.method !== 'GET' && exchange.method !== 'HEAD') return;
    if (exchange.header('authorization') !== undefined || exchange.header('cookie') !== undefined) return;
    if (isOutOfScope(exchange)) {
      counts.bypass++;
      exchange.setHeader('cache-status', `${NAME}; fwd=bypass`);
      return;
    }
    // The host and the scheme too: services hear of them, so that a reply may depend on them.
    return find(exchange, `${exchange.scheme} ${exchange.host} ${exchange.path}${exchange.query}`);
  }

  function find(exchange: Exchange, resource: string): void | Promise<void> {
    const now = Date.now();
    const key = store.keyOf(resource, exchange);
    const kept = store.get(key);
    if (kept) {
      const freshFor = kept.freshFor(now);
      const ttl = Math.ceil(freshFor / 1_000);
      if (freshFor > 0) {
        counts.hit++;
        return answer(exchange, kept, key, `hit; ttl=${ttl}`);
      }
      if (freshFor + kept.lifetime.staleWhileRevalidateMs > 0) {
        counts.stale++;
        answer(exchange, kept, key, `hit; ttl=${ttl}; detail=stale-while-revalidate`);
        return refresh(exchange, resource, key, kept);
      }
    }
    const underWay = fills.get(key);
    if (underWay) return underWay.settled().then(() => afterFill(exchange, resource, underWay));
    counts.miss++;
    const why = kept ? 'stale' : store.knows(resource) ? 'vary-miss' : 'uri-miss';
    exchange.setHeader('cache-status', `${NAME}; fwd=${why}`);
    if (exchange.method === 'HEAD' || (passes.get(key) ?? 0) > now) return;
    // Whoever has a copy is told by the service whether it holds: that is no reply to keep.
    if (!kept && isConditional(exchange)) return;
    exchange.fill = openFill(exchange, resource, key, kept);
  }

  /** Answers who waited, or sends them on. */
  function afterFill(exchange: Exchange, resource: string, fill: Fill): void | Promise<void> {
    if (exchange.gone) return;
    if (fill.outcome === 'left') return find(exchange, resource);
    if (fill.outcome === 'kept') {
      const key = store.keyOf(resource, exchange);
      if (store.get(key) !== fill.reply) return find(exchange, resource);
      counts.coalesced++;
      return answer(exchange, fill.reply!, key, 'fwd=uri-miss; collapsed');
    }
    if (fill.outcome === 'failed' && mayBridgeError(fill.stale)) {
      counts.stale++;
      return answer(exchange, fill.stale!, fill.key, 'fwd=stale; collapsed; detail=stale-if-error');
    }
    counts.miss++;
    exchange.setHeader('cache-status', `${NAME}; fwd=uri-miss`);
  }

  function openFill(exchange: Exchange, resource: string, key: string, kept: CachedReply | undefined): Fill {
    const begunIn = generation;
    const fill = new Fill(exchange.path, resource, key, kept, maxReplyBytes, ({ outcome, reply }) => {
      fills.delete(key);
      if (outcome === 'kept' && begunIn === generation) store.set(resource, exchange, reply!);
      if (outcome !== 'passed') return;
      store.delete(key);
      if (passes.size >= MAX_PASSES) passes.clear();
      passes.set(key, Date.now() + PASS_MS);
    });
    fills.set(key, fill);
    if (kept) askWhetherItHolds(exchange, kept);
    return fill;
  }

  function refresh(exchange: Exchange, resource: string, key: string, kept: CachedReply): void {
    const now = Date.now();
    if (exchange.method === 'HEAD' || fills.has(key) || (refreshAfter.get(key) ?? 0) > now) return;
    if (refreshAfter.size >= MAX_PASSES) refreshAfter.clear();
    refreshAfter.set(key, now + REFRESH_PAUSE_MS);
    const rule = exchange.rule!;
    const fill = openFill(exchange, resource, key, kept);
    new Refresh(fill, exchange, rule, pools[rule.upstream], names).begin();
  }

  function answer(exchange: Exchange, kept: CachedReply, key: string, how: string): void {
    const head = kept.headAt(Date.now());
    const isKnown = holds(kept, exchange.header('if-none-match'), exchange.header('if-modified-since'));
    if (isKnown) becomeNotModified(head);
    exchange.setHeader('cache-status', `${NAME}; ${how}`);
    const coding = agreeOnCoding(exchange, head);
    const body = coding ? kept.bodyIn(coding) : kept.body;
    if (coding) store.recount(key);
    const { lines, overridden } = replyLines(exchange, head, names);
    const length = isKnown ? UNKNOWN_LENGTH : body.byteLength;
    exchange.startReply(head.status, head.reason, lines, length, overridden);
    exchange.writeReply(body);
    exchange.endReply();
  }

  const decide: ReplyFilter = (exchange, _rule, reply, sink) => {
    const { fill } = exchange;
    if (!fill) return sink;
    if (reply.status >= 500 && mayBridgeError(fill.stale)) {
      counts.stale++;
      fill.settle('failed');
      exchange.setHeader(
        'cache-status',
        `${NAME}; fwd=stale; fwd-status=${reply.status}; detail=stale-if-error`,
      );
      substitute(exchange, fill, reply, fill.stale!);
      return sink;
    }
    const { status } = reply;
    const taken = fill.take(reply);
    if (taken === 'renewed') {
      counts.renewed++;
      exchange.setHeader('cache-status', `${NAME}; fwd=stale; fwd-status=304`);
      substitute(exchange, fill, reply, fill.reply!);
    } else if (taken === 'recording') {
      const why = fill.stale ? 'stale' : store.knows(fill.resource) ? 'vary-miss' : 'uri-miss';
      exchange.setHeader('cache-status', `${NAME}; fwd=${why}; fwd-status=${status}; stored`);
      const etag = headerOf(reply.headers, 'etag');
      const asked = exchange.askedIfNoneMatch;
      if (status === 200 && etag && asked && matchesEtag(asked, etag, true)) becomeNotModified(reply);
    }
    return sink;
  };

  /** The service's reply becomes what is kept, or "not modified" for who has that. */
  function substitute(exchange: Exchange, fill: Fill, reply: ResponseHead, kept: CachedReply): void {
    fill.substitute = kept;
    Object.assign(reply, kept.headAt(Date.now()));
    if (holds(kept, exchange.askedIfNoneMatch, undefined)) becomeNotModified(reply);
  }

  const record: ReplyFilter = (exchange, _rule, _reply, sink) => {
    const { fill } = exchange;
    if (!fill) return sink;
    if (fill.substitute) return new Substitution(sink, fill.substitute.body);
    return fill.recording ? new Recording(sink, fill) : sink;
  };

  function forget(pathPrefix: string): number {
    generation++;
    passes.clear();
    return store.purge(pathPrefix);
  }

  function onPurge(message: string): void {
    const [pathPrefix = '', from] = message.split(' ');
    if (from !== self) forget(pathPrefix);
  }

  const unsubscribe = ephemeral.subscribe(PURGE_CHANNEL, onPurge).catch((error: unknown) => {
    log.warn({ reason: String(error) }, 'what other gateways purge is not heard of');
    return async () => {};
  });

  return {
    lookUp,
    decide,
    record,
    answerStale(exchange) {
      const { fill } = exchange;
      if (!fill || !mayBridgeError(fill.stale)) return false;
      counts.stale++;
      fill.settle('failed');
      answer(exchange, fill.stale!, fill.key, 'fwd=stale; detail=stale-if-error');
      return true;
    },
    finished({ fill, gone }) {
      fill?.settle(gone ? 'left' : 'failed');
    },
    async purge(pathPrefix) {
      const purged = forget(pathPrefix);
      const told = ephemeral.publish(PURGE_CHANNEL, `${pathPrefix} ${self}`);
      return told.then(
        () => ({ purged, shared: true }),
        () => ({ purged, shared: false }),
      );
    },
    async stop() {
      await (await unsubscribe)();
    },
  };
}

/** Passes a body on as it comes and hands it to the cache. Small as it is, it does not wait for a slow client. */
class Recording implements ReplySink {
  constructor(
    private readonly sink: ReplySink,
    private readonly fill: Fill,
  ) {}

  writeReply(piece: Uint8Array): void {
    this.fill.add(piece);
    this.sink.writeReply(piece);
  }

  flush(): boolean {
    const takesMore = this.sink.flush();
    return takesMore || this.fill.recording;
  }

  endReply(trailers: HeaderList): void {
    this.fill.end();
    this.sink.endReply(trailers);
  }

  cutOff(): void {
    this.fill.settle('failed');
    this.sink.cutOff();
  }
}

/** Sends what is kept once the service has ended, whatever it says meanwhile and however it ends. */
class Substitution implements ReplySink {
  private done = false;

  constructor(
    private readonly sink: ReplySink,
    private readonly body: Uint8Array,
  ) {}

  writeReply(): void {}

  flush(): boolean {
    return true;
  }

  endReply(): void {
    if (this.done) return;
    this.done = true;
    this.sink.writeReply(this.body);
    this.sink.endReply([]);
  }

  cutOff(): void {
    this.endReply();
  }
}

const mayBridgeError = (kept: CachedReply | undefined): boolean =>
  kept !== undefined && kept.freshFor(Date.now()) + kept.lifetime.staleIfErrorMs > 0;

/** What a cache of whole replies can't answer, or should not keep. */
const isOutOfScope = (exchange: Exchange): boolean =>
  exchange.header('range') !== undefined ||
  exchange.header('if-match') !== undefined ||
  exchange.header('if-unmodified-since') !== undefined ||
  exchange.path.length + exchange.query.length > MAX_TARGET_LENGTH;

const isConditional = (exchange: Exchange): boolean =>
  exchange.header('if-none-match') !== undefined || exchange.header('if-modified-since') !== undefined;

/** The client's own question is kept for the reply; the service is asked ours. */
function askWhetherItHolds(exchange: Exchange, { etag, headers: kept }: CachedReply): void {
  const headers = changeHeaders(exchange.head);
  exchange.askedIfNoneMatch = exchange.header('if-none-match');
  removeHeader(headers, 'if-none-match');
  removeHeader(headers, 'if-modified-since');
  const lastModified = headerOf(kept, 'last-modified');
  if (etag !== undefined) headers.push('if-none-match', etag);
  else if (lastModified !== undefined) headers.push('if-modified-since', lastModified);
}

/** Whether the client has it already (RFC 9110, 13.2.2). */
function holds(
  kept: CachedReply,
  ifNoneMatch: string | undefined,
  ifModifiedSince: string | undefined,
): boolean {
  if (kept.status !== 200) return false;
  if (ifNoneMatch !== undefined) return kept.etag !== undefined && matchesEtag(ifNoneMatch, kept.etag, true);
  const lastModified = headerOf(kept.headers, 'last-modified');
  if (ifModifiedSince === undefined || lastModified === undefined) return false;
  return Date.parse(lastModified) <= Date.parse(ifModifiedSince);
}

/** RFC 9110, 15.4.5: what describes the content is left out. */
function becomeNotModified(head: ResponseHead): void {
  head.status = 304;
  head.reason = 'Not Modified';
  const headers = changeHeaders(head);
  for (const name of ['content-type', 'content-disposition', 'content-language', 'content-encoding'])
    removeHeader(headers, name);
}

function observe(registry: Registry, store: CacheStore, counts: Record<string, number>): void {
  const registers = [registry];
  new Counter({
    name: 'lyceum_gateway_cache_requests_total',
    help: 'What became of requests that the response cache may answer: hit, stale, coalesced (waited for another), renewed (304), miss, bypass.',
    labelNames: ['outcome'],
    registers,
    collect() {
      this.reset();
      for (const [outcome, count] of Object.entries(counts)) this.inc({ outcome }, count);
    },
  });
  new Counter({
    name: 'lyceum_gateway_cache_evictions_total',
    help: 'Replies that had to make room.',
    registers,
    collect() {
      this.reset();
      this.inc(store.evicted);
    },
  });
  new Gauge({
    name: 'lyceum_gateway_cache_bytes',
    help: 'What the kept replies take.',
    registers,
    collect() {
      this.set(store.bytes);
    },
  });
  new Gauge({
    name: 'lyceum_gateway_cache_entries',
    help: 'Replies that are kept.',
    registers,
    collect() {
      this.set(store.size);
    },
  });
}
