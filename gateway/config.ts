import { isIP } from 'node:net';
import { z } from 'zod';
import { SERVICES, type ServiceName } from '../shared/contracts/common.ts';
import { CommonEnvironment, type Environment, parseEnvironment } from '../shared/platform/environment.ts';
import type { ForwardingHeaders } from './proxy/headers.ts';
import { DEFAULT_UPSTREAM_SETTINGS, type UpstreamSettings } from './upstreams/settings.ts';
import { parseTargets, type UpstreamTarget } from './upstreams/targets.ts';

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
  /** From a new connection, or the first byte of a request, to the end of its head. */
  headMs: number;
  /** An unused client connection stays open. */
  keepAliveMs: number;
  /** An unused connection to a replica stays open: for less than services keep theirs. */
  upstreamKeepAliveMs: number;
  /** After a refusal, the rest of a body is read and thrown away for so long, so that the client gets the reply. */
  lingerMs: number;
  /** The shared limits' store must answer. */
  storeMs: number;
  /** All of these are looked at so often: each comes up to so much later. */
  sweepMs: number;
}

export const DEFAULT_TIMINGS: GatewayTimings = {
  jsonBodyMs: 15_000,
  uploadWindowMs: 30_000,
  uploadBytesPerSecond: 1_024,
  stallMs: 60_000,
  connectMs: 2_000,
  firstByteMs: 30_000,
  idleMs: 60_000,
  headMs: 12_000,
  keepAliveMs: 75_000,
  upstreamKeepAliveMs: 60_000,
  lingerMs: 2_000,
  storeMs: 50,
  sweepMs: 100,
};

export interface GatewayConfig {
  hostname: string;
  port: number;
  internalHostname: string;
  internalPort: number;
  /** Where the replicas of each service are found. */
  upstreams: Record<ServiceName, UpstreamTarget[]>;
  upstreamSettings: Record<ServiceName | 'dev-mail', UpstreamSettings>;
  publicUrl: string;
  limitScale: number;
  /** The mail catcher, in development. */
  devMail: UpstreamTarget[] | undefined;
  /** Grafana Faro's collector: our pages send it their errors and web vitals. Absent: they load nothing for it. */
  faroUrl: string | undefined;
  corsOrigins: string[];
  /** CIDRs of proxies whose X-Forwarded-For counts. */
  trustedProxies: string[];
  forwardingHeaders: ForwardingHeaders;
  /** Open WebSockets from one address: a school may sit behind one. */
  socketsPerAddress: number;
  /** PEM files: the public port speaks TLS. Read again now and then and on reload. */
  tls: { certFile: string; keyFile: string } | undefined;
  /** With TLS, HTTP/2 for clients that ask for it. */
  http2: boolean;
  /** A plain port that only sends clients to `publicUrl`. */
  redirectPort: number | undefined;
  /** What the response cache may hold, in bytes; 0: nothing. */
  cacheBytes: number;
  /** Share of the requests that went well that the access log keeps, from 0 to 1. */
  accessLogSample: number;
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
const targets = z.string().transform((text, context) => {
  try {
    return parseTargets(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) });
    return z.NEVER;
  }
});
const origins = list.pipe(z.array(z.url({ protocol: /^https?$/ }).transform((url) => new URL(url).origin)));
const cidr = z.string().refine(isCidr, 'must be an address or a CIDR such as 10.0.0.0/8');
const port = z.coerce.number().int().min(0).max(65_535);

const inFlight = z.coerce.number().int().min(1).max(1_000_000);
const checkMs = z.coerce
  .number()
  .int()
  .max(60_000)
  .refine((ms) => ms === 0 || ms >= 100, 'must be 0 (no checks) or at least 100');

const upstreamName = <N extends ServiceName>(name: N) =>
  `UPSTREAM_${name.toUpperCase()}` as `UPSTREAM_${Uppercase<N>}`;
const maxInFlightName = <N extends ServiceName>(name: N) => `${upstreamName(name)}_MAX_IN_FLIGHT` as const;
const perService = <K extends string, V>(name: (service: ServiceName) => K, value: V) =>
  Object.fromEntries(SERVICES.map((service) => [name(service), value])) as Record<K, V>;

const GatewayEnvironment = CommonEnvironment.extend({
  HOST: z.string().default('127.0.0.1'),
  PORT: port.default(8080),
  INTERNAL_HOST: z.string().default('127.0.0.1'),
  INTERNAL_PORT: port.default(8081),
  LYCEUM_DEV_MAIL: targets.optional(),
  FARO_URL: httpUrl.optional(),
  CORS_ORIGINS: origins.default([]),
  TRUSTED_PROXIES: list.pipe(z.array(cidr)).default([]),
  FORWARDED_HEADERS: z.enum(['x-forwarded', 'forwarded', 'both']).default('x-forwarded'),
  VIA: z
    .string()
    .regex(/^[A-Za-z0-9._-]{0,64}$/, 'must be a name without spaces')
    .default(''),
  SOCKETS_PER_ADDRESS: z.coerce.number().int().min(1).default(20_000),
  ACCESS_LOG_SAMPLE: z.coerce.number().min(0).max(1).default(1),
  TLS_CERT_FILE: z.string().optional(),
  TLS_KEY_FILE: z.string().optional(),
  HTTP2: z.enum(['on', 'off']).default('off'),
  REDIRECT_PORT: port.optional(),
  CACHE_MEMORY_MB: z.coerce.number().min(0).max(16_384).default(64),
  UPSTREAM_MAX_IN_FLIGHT: inFlight.default(DEFAULT_UPSTREAM_SETTINGS.maxInFlight),
  UPSTREAM_CHECK_MS: checkMs.default(DEFAULT_UPSTREAM_SETTINGS.checkEveryMs),
  ...perService(upstreamName, targets),
  ...perService(maxInFlightName, inFlight.optional()),
});

/** The variables that the gateway reads. */
export const GATEWAY_VARIABLES: ReadonlySet<string> = new Set(Object.keys(GatewayEnvironment.shape));

/** The gateway's configuration. Throws an Error that lists every wrong or missing variable. */
export function parseGatewayConfig(env: Environment): GatewayConfig {
  const parsed = parseEnvironment(GatewayEnvironment, env);
  const { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile } = parsed;
  const tls = certFile && keyFile ? { certFile, keyFile } : undefined;
  const faults = [];
  if (!tls && (certFile || keyFile)) faults.push('TLS_CERT_FILE and TLS_KEY_FILE: set both, or neither');
  if (!tls && parsed.REDIRECT_PORT !== undefined) faults.push('REDIRECT_PORT: needs TLS_CERT_FILE');
  if (!tls && parsed.HTTP2 === 'on') faults.push('HTTP2: needs TLS_CERT_FILE');
  const publicUrl = parsed.PUBLIC_URL ?? `${tls ? 'https' : 'http'}://localhost:${parsed.PORT}`;
  if (tls && !publicUrl.startsWith('https://'))
    faults.push('PUBLIC_URL: must be https where TLS_CERT_FILE is set');
  if (faults.length > 0) throw new Error(`The configuration is not valid:\n  ${faults.join('\n  ')}`);
  return {
    hostname: parsed.HOST,
    port: parsed.PORT,
    internalHostname: parsed.INTERNAL_HOST,
    internalPort: parsed.INTERNAL_PORT,
    upstreams: eachService((name) => parsed[upstreamName(name)]),
    upstreamSettings: {
      ...eachService((name) => ({
        ...DEFAULT_UPSTREAM_SETTINGS,
        maxInFlight: parsed[maxInFlightName(name)] ?? parsed.UPSTREAM_MAX_IN_FLIGHT,
        checkEveryMs: parsed.UPSTREAM_CHECK_MS,
      })),
      // Says nothing about its health.
      'dev-mail': { ...DEFAULT_UPSTREAM_SETTINGS, checkEveryMs: 0 },
    },
    publicUrl: publicUrl.replace(/\/+$/, ''),
    limitScale: parsed.LYCEUM_LIMIT_SCALE,
    devMail: parsed.LYCEUM_DEV_MAIL,
    faroUrl: parsed.FARO_URL,
    corsOrigins: parsed.CORS_ORIGINS,
    trustedProxies: parsed.TRUSTED_PROXIES,
    forwardingHeaders: {
      xForwarded: parsed.FORWARDED_HEADERS !== 'forwarded',
      forwarded: parsed.FORWARDED_HEADERS !== 'x-forwarded',
      via: parsed.VIA,
    },
    socketsPerAddress: parsed.SOCKETS_PER_ADDRESS,
    tls,
    http2: parsed.HTTP2 === 'on',
    redirectPort: parsed.REDIRECT_PORT,
    cacheBytes: parsed.CACHE_MEMORY_MB * 1_048_576,
    accessLogSample: parsed.ACCESS_LOG_SAMPLE,
    timings: DEFAULT_TIMINGS,
  };
}

const eachService = <V>(value: (name: ServiceName) => V): Record<ServiceName, V> =>
  Object.fromEntries(SERVICES.map((name) => [name, value(name)])) as Record<ServiceName, V>;

function isCidr(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}
