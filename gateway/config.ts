import { isIP } from 'node:net';
import { z } from 'zod';
import { SERVICES, type ServiceName } from '../shared/contracts/common.ts';
import { CommonEnvironment, type Environment, parseEnvironment } from '../shared/platform/environment.ts';

/** How long the gateway waits for what, in milliseconds, and how much it lets through. Tests shorten them. */
export interface GatewayTimings {
  /** A whole JSON body must have arrived. */
  jsonBodyMs: number;
  /** Sliding window of the least upload rate. */
  uploadWindowMs: number;
  /** Bytes a second, averaged over the window, that an upload must reach. */
  uploadBytesPerSecond: number;
  /** A client takes none of the reply, or an upstream none of the upload. */
  stallMs: number;
  /** To reach an upstream. */
  connectMs: number;
  /** From the end of the request to the head of the reply. */
  firstByteMs: number;
  /** Between two pieces of a reply. */
  idleMs: number;
  /** An upstream that refused is passed over for so long. */
  downMs: number;
  /** An unused client connection stays open. */
  keepAliveMs: number;
  /** After a refusal, the rest of a body is read and thrown away for so long, so that the client gets the reply. */
  lingerMs: number;
  /** The shared limits' store must answer. */
  storeMs: number;
}

export const DEFAULT_TIMINGS: GatewayTimings = {
  jsonBodyMs: 15_000,
  uploadWindowMs: 30_000,
  uploadBytesPerSecond: 1_024,
  stallMs: 60_000,
  connectMs: 2_000,
  firstByteMs: 30_000,
  idleMs: 60_000,
  downMs: 1_000,
  keepAliveMs: 75_000,
  lingerMs: 2_000,
  storeMs: 250,
};

export interface GatewayConfig {
  hostname: string;
  port: number;
  internalHostname: string;
  internalPort: number;
  /** Base URLs of each service, without a slash at the end. */
  upstreams: Record<ServiceName, string[]>;
  publicUrl: string;
  limitScale: number;
  /** Base URL of the mail catcher, in development. */
  devMail: string | undefined;
  /** Grafana Faro's collector: our pages send it their errors and web vitals. Absent: they load nothing for it. */
  faroUrl: string | undefined;
  corsOrigins: string[];
  /** CIDRs of proxies whose X-Forwarded-For counts. */
  trustedProxies: string[];
  timings: GatewayTimings;
}

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean),
);
const httpUrl = z.url({ protocol: /^https?$/, hostname: /.+/ }).transform((url) => url.replace(/\/+$/, ''));
// Services speak plain HTTP inside the cluster; the hop is the mesh's or the network's to encrypt.
const httpUrls = list.pipe(
  z.array(z.url({ protocol: /^http$/ }).transform((url) => new URL(url).origin)).min(1),
);
const origins = list.pipe(z.array(z.url({ protocol: /^https?$/ }).transform((url) => new URL(url).origin)));
const cidr = z.string().refine(isCidr, 'must be an address or a CIDR such as 10.0.0.0/8');
const port = z.coerce.number().int().min(0).max(65_535);

const upstreamName = <N extends ServiceName>(name: N) =>
  `UPSTREAM_${name.toUpperCase()}` as `UPSTREAM_${Uppercase<N>}`;

const GatewayEnvironment = CommonEnvironment.extend({
  HOST: z.string().default('127.0.0.1'),
  PORT: port.default(8080),
  INTERNAL_HOST: z.string().default('127.0.0.1'),
  INTERNAL_PORT: port.default(8081),
  LYCEUM_DEV_MAIL: httpUrl.optional(),
  FARO_URL: httpUrl.optional(),
  CORS_ORIGINS: origins.default([]),
  TRUSTED_PROXIES: list.pipe(z.array(cidr)).default([]),
  ...(Object.fromEntries(SERVICES.map((name) => [upstreamName(name), httpUrls])) as Record<
    `UPSTREAM_${Uppercase<ServiceName>}`,
    typeof httpUrls
  >),
});

/** The gateway's configuration. Throws an Error that lists every wrong or missing variable. */
export function parseGatewayConfig(env: Environment): GatewayConfig {
  const parsed = parseEnvironment(GatewayEnvironment, env);
  return {
    hostname: parsed.HOST,
    port: parsed.PORT,
    internalHostname: parsed.INTERNAL_HOST,
    internalPort: parsed.INTERNAL_PORT,
    upstreams: Object.fromEntries(SERVICES.map((name) => [name, parsed[upstreamName(name)]])) as Record<
      ServiceName,
      string[]
    >,
    publicUrl: (parsed.PUBLIC_URL ?? `http://localhost:${parsed.PORT}`).replace(/\/+$/, ''),
    limitScale: parsed.LYCEUM_LIMIT_SCALE,
    devMail: parsed.LYCEUM_DEV_MAIL,
    faroUrl: parsed.FARO_URL,
    corsOrigins: parsed.CORS_ORIGINS,
    trustedProxies: parsed.TRUSTED_PROXIES,
    timings: DEFAULT_TIMINGS,
  };
}

function isCidr(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}
