import { isDeepStrictEqual } from 'node:util';
import { Problem } from '../shared/errors.ts';
import type { Log } from '../shared/observability/log.ts';
import type { GatewayConfig } from './config.ts';

export interface ReloadReport {
  /** What is new, by the names of GatewayConfig. */
  changed: string[];
  /** What differs too, but takes effect at the next start only. */
  needsRestart: string[];
}

/** What can change while the gateway runs. */
const LIVE = [
  'tls',
  'upstreams',
  'corsOrigins',
  'trustedProxies',
  'forwardingHeaders',
  'limitScale',
  'socketsPerAddress',
  'accessLogSample',
] as const satisfies readonly (keyof GatewayConfig)[];
export type LiveSetting = (typeof LIVE)[number];

/** How one setting is put in use. May refuse by throwing; then what it did is undone by being called with the old one. */
export type Applier = (next: GatewayConfig) => void | Promise<void>;

/**
 * Reads the configuration again. It is checked as a whole first, then put in use setting by setting; if one can't be,
 * all go back to what they were. Connections and requests in hand notice nothing.
 */
export function createReload(options: {
  /** In use; changed in place, so that who holds it sees what is new. */
  config: GatewayConfig;
  read: (() => GatewayConfig) | undefined;
  /** For settings that more has to be done for than to be in `config`; in the order in which they may fail. */
  appliers: Partial<Record<LiveSetting, Applier>>;
  /** Even if nothing seems to have changed: files may have. */
  always: readonly LiveSetting[];
  log: Log;
}): () => Promise<ReloadReport> {
  const { config, read, appliers, always, log } = options;
  let underWay: Promise<ReloadReport> | undefined;

  async function reload(): Promise<ReloadReport> {
    if (!read)
      throw new Problem('conflict', 'This gateway was started without a configuration to read again.');
    const next = attempt(read);
    const differs = (name: keyof GatewayConfig): boolean => !isDeepStrictEqual(config[name], next[name]);
    const changed = LIVE.filter(differs);
    const before = structuredClone(config);
    const done: LiveSetting[] = [];
    try {
      for (const name of LIVE.filter((live) => changed.includes(live) || always.includes(live))) {
        done.push(name);
        await appliers[name]?.(next);
      }
    } catch (error) {
      // The one that failed has changed nothing.
      for (const name of done.slice(0, -1).reverse()) await appliers[name]?.(before);
      throw refused(error);
    }
    // In place: some hold the list or the object itself.
    for (const name of changed) replace(config, next, name);
    const report = {
      changed,
      needsRestart: (Object.keys(next) as (keyof GatewayConfig)[]).filter(
        (name) => !(LIVE as readonly string[]).includes(name) && name !== 'timings' && differs(name),
      ),
    };
    log.info(report, 'configuration was read again');
    return report;
  }

  return () => {
    underWay ??= reload()
      .catch((error: unknown) => {
        log.error({ reason: (error as Error).message }, 'configuration was not changed');
        throw error;
      })
      .finally(() => {
        underWay = undefined;
      });
    return underWay;
  };
}

function attempt(read: () => GatewayConfig): GatewayConfig {
  try {
    return read();
  } catch (error) {
    throw refused(error);
  }
}

const refused = (error: unknown): Problem =>
  error instanceof Problem
    ? error
    : new Problem('validation-failed', error instanceof Error ? error.message : String(error));

function replace<K extends keyof GatewayConfig>(config: GatewayConfig, next: GatewayConfig, name: K): void {
  if (name === 'forwardingHeaders') Object.assign(config.forwardingHeaders, next.forwardingHeaders);
  else config[name] = next[name];
}
