/** One replica of a service. */
export interface UpstreamAddress {
  /** A name or an address, IPv6 without brackets. */
  hostname: string;
  port: number;
  /** What the Host header says. For a replica found by DNS it is the name that was asked for. */
  host: string;
}

/** One entry of a service's list of upstreams. */
export type UpstreamTarget =
  | { kind: 'static'; url: string; address: UpstreamAddress }
  /** Every address (A, or AAAA where there is no A) of a name is a replica: Kubernetes headless services, Compose. */
  | { kind: 'dns'; url: string; name: string; port: number; host: string }
  /** Every SRV record of a name is a replica, or several. */
  | { kind: 'srv'; url: string; name: string };

const DEFAULT_PORT = 80;
const FORMS = 'http://host:port, dns+http://name:port or srv+http://_http._tcp.name';

/** `http://a:1, dns+http://b:2` as targets. Throws an Error that says which entry is wrong, and how it is written. */
export function parseTargets(list: string): UpstreamTarget[] {
  const entries = list
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  if (entries.length === 0) throw new Error(`is empty: write ${FORMS}, several with commas`);
  const targets = entries.map((entry, index) => {
    const target = parseTarget(entry);
    if (!target) throw new Error(`entry ${index + 1} is not one of ${FORMS}`);
    return target;
  });
  return [...new Map(targets.map((target) => [target.url, target])).values()];
}

function parseTarget(entry: string): UpstreamTarget | undefined {
  const [, kind = '', rest = ''] = /^((?:dns|srv)\+)?(http:\/\/.+)$/.exec(entry) ?? [];
  if (!URL.canParse(rest)) return undefined;
  const url = new URL(rest);
  if (url.pathname !== '/' || url.search || url.hash || url.username || url.password || !url.hostname)
    return undefined;
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port || DEFAULT_PORT);
  if (kind === 'srv+')
    return url.port ? undefined : { kind: 'srv', url: `srv+${url.origin}`, name: hostname };
  if (kind === 'dns+') return { kind: 'dns', url: `dns+${url.origin}`, name: hostname, port, host: url.host };
  return { kind: 'static', url: url.origin, address: { hostname, port, host: url.host } };
}

/** `host:port` of an address itself, whatever its Host header says: names a replica in metrics and logs. */
export const nameOf = ({ hostname, port }: UpstreamAddress): string =>
  `${hostname.includes(':') ? `[${hostname}]` : hostname}:${port}`;
