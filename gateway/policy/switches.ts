import { z } from 'zod';
import { SERVICES } from '../../shared/contracts/common.ts';
import { Problem } from '../../shared/errors.ts';
import type { Log } from '../../shared/observability/log.ts';
import type { EphemeralStore } from '../../shared/ports/ephemeral-store.ts';
import type { Exchange } from '../exchange.ts';

/** What sockets are switched by, beside the names of the routing table. */
export const SOCKET_ROUTE = 'socket';

const STORE_KEY = 'gateway:switches';
const CHANNEL = 'gateway:switches';
/** Longer than a store is ever without a gateway; whatever gateway there is writes it again before. */
const KEPT_MS = 30 * 86_400_000;
/** What a message did not bring is found so much later, in milliseconds. */
const READ_EVERY_MS = 2_000;
/** For clients, in seconds, where nobody has said until when. */
const RETRY_AFTER = { 'switched-off': 60, maintenance: 300 };

const Entry = z.object({
  off: z.boolean(),
  /** As `Date.now()`; of two entries for one thing the later one holds. */
  changedAt: z.number(),
  /** Said to clients. */
  message: z.string().optional(),
  /** When it is expected back, RFC 3339; nothing happens by itself then. */
  until: z.string().optional(),
});
export type SwitchEntry = z.output<typeof Entry>;
/** By `routes/<name>`, `services/<name>` and `maintenance`. */
const State = z.record(z.string(), Entry);
type State = z.output<typeof State>;

export const MAINTENANCE = 'maintenance';

export interface SwitchChange {
  off: boolean;
  message?: string | undefined;
  until?: string | undefined;
}

export interface Switches {
  /** Throws `switched-off` for a route that is, or whose service is. */
  check(exchange: Exchange): void;
  /** The same for a WebSocket. */
  checkSocket(exchange: Exchange): void;
  /** Set while everything is under maintenance. */
  readonly maintenance: SwitchEntry | undefined;
  /** Whether sockets are refused now: those that are open should go. */
  readonly socketsOff: boolean;
  /** Everything that is off, by its key. */
  off(): Record<string, SwitchEntry>;
  isKnown(key: string): boolean;
  /** Holds here at once. False: the store is away; other gateways hear of it when it is back. */
  change(key: string, change: SwitchChange): Promise<boolean>;
  stop(): Promise<void>;
}

/**
 * What operators have switched off, the same in every gateway. The store keeps it and messages make it quick; while the
 * store is away, and after it has lost its memory, what a gateway knows last holds and is written back.
 */
export async function createSwitches(options: {
  store: EphemeralStore;
  routeNames: Iterable<string>;
  onChange(): void;
  log: Log;
}): Promise<Switches> {
  const { store, onChange, log } = options;
  const known = new Set<string>([MAINTENANCE, `routes/${SOCKET_ROUTE}`]);
  for (const name of options.routeNames) known.add(`routes/${name}`);
  for (const name of SERVICES) known.add(`services/${name}`);
  let state: State = {};
  /** What of it is off; undefined: nothing, which is what a request asks first. */
  let off: Map<string, SwitchEntry> | undefined;
  let reachable = true;

  function use(next: State): void {
    const before = JSON.stringify([...(off ?? [])]);
    state = next;
    const entries = Object.entries(next).filter(([, entry]) => entry.off);
    off = entries.length > 0 ? new Map(entries.sort(([a], [b]) => (a < b ? -1 : 1))) : undefined;
    if (JSON.stringify([...(off ?? [])]) === before) return;
    log.warn({ off: [...(off?.keys() ?? [])] }, 'switches have changed');
    onChange();
  }

  /** Takes over what is newer in the store, and brings the store what it does not have. */
  async function synchronise(): Promise<void> {
    const text = await store.get(STORE_KEY);
    const theirs = parse(text);
    const merged = merge(state, theirs);
    use(merged);
    if (JSON.stringify(merge(theirs, {})) === JSON.stringify(merged)) return;
    await store.set(STORE_KEY, JSON.stringify(merged), KEPT_MS);
  }

  async function tryToSynchronise(): Promise<boolean> {
    try {
      await synchronise();
      reachable = true;
    } catch (error) {
      if (reachable) log.warn({ reason: String(error) }, 'switches stay as they are: the shared store fails');
      reachable = false;
    }
    return reachable;
  }

  const unsubscribe = await store.subscribe(CHANNEL, (message) => use(merge(state, parse(message))));
  await tryToSynchronise();
  const timer = setInterval(() => void tryToSynchronise(), READ_EVERY_MS);
  timer.unref?.();

  const refusal = (what: string, { message, until }: SwitchEntry): Problem =>
    new Problem('switched-off', message ?? `${what} is switched off for now.`, {
      retryAfter: secondsUntil(until) ?? RETRY_AFTER['switched-off'],
    });

  return {
    check(exchange) {
      if (off === undefined) return;
      const { name, upstream } = exchange.rule!;
      const entry = off.get(`routes/${name}`) ?? off.get(`services/${upstream}`);
      if (entry) throw refusal('This', entry);
    },
    checkSocket(exchange) {
      if (off === undefined || exchange.head.upgrade !== 'websocket') return;
      const entry = off.get(`routes/${SOCKET_ROUTE}`) ?? off.get('services/chat');
      if (entry) throw refusal('The chat', entry);
    },
    get maintenance() {
      return off?.get(MAINTENANCE);
    },
    get socketsOff() {
      return [MAINTENANCE, `routes/${SOCKET_ROUTE}`, 'services/chat'].some((key) => off?.has(key));
    },
    off: () => Object.fromEntries(off ?? []),
    isKnown: (key) => known.has(key),
    async change(key, { off: isOff, message, until }) {
      const set = (): number => {
        const changedAt = Math.max(Date.now(), (state[key]?.changedAt ?? 0) + 1);
        const entry: SwitchEntry = { off: isOff, changedAt };
        if (message !== undefined) entry.message = message;
        if (until !== undefined) entry.until = until;
        use(merge(state, { [key]: entry }));
        return changedAt;
      };
      const changedAt = set();
      let isShared = await tryToSynchronise();
      if (state[key]!.changedAt !== changedAt) {
        // Another gateway, whose clock is ahead, has changed it before: the later word holds.
        set();
        isShared = await tryToSynchronise();
      }
      if (isShared) await store.publish(CHANNEL, JSON.stringify(state)).catch(() => {});
      return isShared;
    },
    async stop() {
      clearInterval(timer);
      await unsubscribe();
    },
  };
}

/** Of each entry the later one; of two at the same time either, but every gateway the same. */
function merge(a: State, b: State): State {
  const merged: State = {};
  for (const key of [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()) {
    const [one, other] = [a[key], b[key]];
    if (!one || !other) merged[key] = (one ?? other)!;
    else if (one.changedAt !== other.changedAt) merged[key] = one.changedAt > other.changedAt ? one : other;
    else merged[key] = JSON.stringify(one) > JSON.stringify(other) ? one : other;
  }
  return merged;
}

/** What can't be read counts as nothing: a switch must not be lost because somebody wrote nonsense. */
function parse(text: string | null): State {
  if (text === null) return {};
  try {
    return State.catch({}).parse(JSON.parse(text));
  } catch {
    return {};
  }
}

/** Undefined if no time is said or it has passed. */
function secondsUntil(until: string | undefined): number | undefined {
  const seconds = until === undefined ? 0 : Math.ceil((Date.parse(until) - Date.now()) / 1_000);
  return seconds > 0 ? seconds : undefined;
}

export const retryAfterMaintenance = ({ until }: SwitchEntry): number =>
  secondsUntil(until) ?? RETRY_AFTER.maintenance;
