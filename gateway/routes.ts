import type { ServiceName } from '../shared/contracts/common.ts';
import { Problem } from '../shared/errors.ts';
import { type DeprecatedSince, type Deprecation, deprecationOf } from './policy/deprecation.ts';

/** The routing table as data. What no line lets through does not exist: services' /metrics and /healthz never do. */

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

export const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;
export type Method = (typeof METHODS)[number];

export interface Bucket {
  /** Requests at once. */
  capacity: number;
  perSecond: number;
}

/** Buckets of a rate-limit class: one per signed-in user; one per address for everybody else, where a school may sit. */
export interface RateClass {
  name: string;
  /** The shared store decides on every request, which waits for it: for what is worth guessing, or costs a lot. */
  strict?: boolean;
  perUser?: Bucket;
  perAddress: Bucket;
}

/**
 * Sized for a school of 2,000 behind one address (NAT): everybody signs in within the first lesson, loads a page
 * of thirty calls at the bell, and keeps a session alive all day. `LYCEUM_LIMIT_SCALE` multiplies both numbers.
 */
export const RATE_CLASSES = {
  login: { name: 'login', strict: true, perAddress: { capacity: 60, perSecond: 1 } },
  register: { name: 'register', strict: true, perAddress: { capacity: 60, perSecond: 1 } },
  mail: { name: 'mail', strict: true, perAddress: { capacity: 30, perSecond: 0.5 } },
  session: { name: 'session', perAddress: { capacity: 600, perSecond: 20 } },
  read: {
    name: 'read',
    perUser: { capacity: 200, perSecond: 50 },
    perAddress: { capacity: 2_000, perSecond: 400 },
  },
  write: {
    name: 'write',
    perUser: { capacity: 60, perSecond: 20 },
    perAddress: { capacity: 600, perSecond: 60 },
  },
  upload: {
    name: 'upload',
    strict: true,
    perUser: { capacity: 60, perSecond: 1 },
    perAddress: { capacity: 60, perSecond: 1 },
  },
  /**
   * Requests whose token was refused. Past it no token that is new is looked at: 300 signature checks a second are 2 %
   * of a core, and nobody but a flood comes near, not a school full of stale tabs.
   */
  refused: { name: 'refused', perAddress: { capacity: 3_000, perSecond: 300 } },
  /** New sockets: a school whose server restarted comes back all at once. */
  socket: { name: 'socket', perAddress: { capacity: 2_000, perSecond: 50 } },
} as const satisfies Record<string, RateClass>;
export type RateClassName = keyof typeof RATE_CLASSES;

const DEFAULT_RETRIES = 2;
const DEFAULT_TRY_MS = 3_000;

export interface GatewayRoute {
  /** Label in metrics and logs. */
  name: string;
  /** Absent: every method of METHODS. */
  methods?: readonly Method[];
  /** `{x}` is one segment, a last `**` is the rest or nothing. */
  pattern: string;
  upstream: ServiceName;
  /** The first of two checks; the service has the last word. */
  token: 'none' | 'optional' | 'required';
  /** `json` bodies are read whole before the upstream hears of them; `stream` bodies pass through as they come. */
  body: 'json' | 'stream';
  /** Bytes. */
  bodyLimit: number;
  /** A class, or one that only this route has. Absent: `read` for GET and HEAD, `write` for the rest. */
  limit?: RateClassName | RateClass;
  /** How often a request that may be repeated is sent to another replica. Absent: DEFAULT_RETRIES. */
  retries?: number;
  /** A read without an answer is tried elsewhere after so many milliseconds. Absent: DEFAULT_TRY_MS. */
  tryMs?: number;
  /** Milliseconds from the end of the request to the head of the reply, where the default does not do. */
  firstByteMs?: number;
  /** Milliseconds for the whole exchange. Absent: as long as bytes flow. */
  totalMs?: number;
  /** Replies have secrets in them, so that they are never compressed (docs/security.md). */
  secret?: boolean;
  /** Clients should leave it. */
  deprecated?: DeprecatedSince;
}

const JSON_BODY = { body: 'json', bodyLimit: MiB } as const;

/** Anybody may call it. What auth says to them has tokens or addresses in it. */
const open = (
  name: string,
  method: Method,
  pattern: string,
  upstream: ServiceName,
  limit: RateClassName,
): GatewayRoute => ({
  name,
  methods: [method],
  pattern,
  upstream,
  token: 'none',
  limit,
  secret: true,
  ...JSON_BODY,
});

const service = (upstream: ServiceName, pattern: string): GatewayRoute => ({
  name: upstream,
  pattern,
  upstream,
  token: 'required',
  ...JSON_BODY,
});

/** The first line that fits decides. A public line names method and path; the last line of each service needs a token. */
export const ROUTES: readonly GatewayRoute[] = [
  open('auth.register', 'POST', '/api/auth/register', 'auth', 'register'),
  open('auth.login', 'POST', '/api/auth/login', 'auth', 'login'),
  open('auth.refresh', 'POST', '/api/auth/refresh', 'auth', 'session'),
  open('auth.verify', 'POST', '/api/auth/email/verify', 'auth', 'register'),
  open('auth.resend', 'POST', '/api/auth/email/resend', 'auth', 'mail'),
  open('auth.forgot', 'POST', '/api/auth/password/forgot', 'auth', 'mail'),
  open('auth.reset', 'POST', '/api/auth/password/reset', 'auth', 'register'),
  { ...open('auth.keys', 'GET', '/.well-known/**', 'auth', 'read'), methods: ['GET', 'HEAD'], secret: false },
  { ...service('auth', '/api/auth/**'), secret: true },

  {
    name: 'content.upload',
    methods: ['POST'],
    pattern: '/api/content/files',
    upstream: 'content',
    token: 'required',
    body: 'stream',
    bodyLimit: 50 * GiB,
    limit: 'upload',
    // The service hands the last parts of a large file to the object store before it answers.
    firstByteMs: 300_000,
  },
  // A signed link or a public file needs no token; the service decides which file this is.
  {
    name: 'content.bytes',
    methods: ['GET', 'HEAD'],
    pattern: '/api/content/files/{id}/content',
    upstream: 'content',
    token: 'optional',
    ...JSON_BODY,
  },
  {
    ...service('content', '/api/content/files/{id}/links'),
    name: 'content.links',
    methods: ['POST'],
    secret: true,
  },
  {
    ...service('content', '/api/content/courses'),
    name: 'content.catalogue',
    methods: ['GET', 'HEAD'],
    token: 'optional',
  },
  {
    ...service('content', '/api/content/courses/{id}'),
    name: 'content.course',
    methods: ['GET', 'HEAD'],
    token: 'optional',
  },
  service('content', '/api/content/**'),

  {
    name: 'profile.avatar-upload',
    methods: ['PUT'],
    pattern: '/api/profiles/me/avatar',
    upstream: 'profile',
    token: 'required',
    body: 'stream',
    // The service's own limit is 5 MB; the slack is for multipart framing, so that the service gives the precise answer.
    bodyLimit: 6 * MiB,
    limit: 'upload',
  },
  {
    name: 'profile.avatar',
    methods: ['GET', 'HEAD'],
    pattern: '/api/profiles/avatars/{id}/{size}',
    upstream: 'profile',
    token: 'none',
    ...JSON_BODY,
  },
  service('profile', '/api/profiles/**'),

  // For integrations, which show the webhook's own secret in a header; the service checks it.
  {
    name: 'chat.webhook',
    methods: ['POST'],
    pattern: '/api/chat/webhooks/{id}',
    upstream: 'chat',
    token: 'none',
    body: 'json',
    bodyLimit: 64 * 1024,
    limit: { name: 'webhook', perAddress: { capacity: 240, perSecond: 20 } },
  },
  { ...service('chat', '/api/chat/rooms/{id}/webhooks/**'), name: 'chat.webhooks', secret: true },
  service('chat', '/api/chat/**'),
  service('notifications', '/api/notifications/**'),
  service('analytics', '/api/analytics/**'),
];

/** A line of the table with everything filled in. */
export interface Route extends GatewayRoute {
  retries: number;
  tryMs: number;
  firstByteMs: number;
  totalMs: number;
  /** What its reading and its writing requests count against. */
  readLimit: RateClass;
  writeLimit: RateClass;
  secret: boolean;
  deprecation: Deprecation | undefined;
}

export interface RouteTable {
  routes: readonly Route[];
  /**
   * The first line that fits. Throws `not-found`, or `method-not-allowed` where a public line names all methods of
   * its path: so another method is refused as what it is, and not for want of a token.
   */
  find(method: string, path: string): Route;
}

interface Line {
  route: Route;
  segments: readonly string[];
  /** The last segment was `**`. */
  open: boolean;
}

/** Makes the table. Throws an Error that says which line is wrong: two of one name, a pattern that can't be, no limit. */
export function createRouteTable(
  rows: readonly GatewayRoute[],
  defaults: { firstByteMs: number },
): RouteTable {
  const lines = rows.map((row): Line => {
    checkRow(row);
    const segments = row.pattern.slice(1).split('/');
    const open = segments.at(-1) === '**';
    return {
      route: {
        ...row,
        retries: row.retries ?? DEFAULT_RETRIES,
        tryMs: row.tryMs ?? DEFAULT_TRY_MS,
        firstByteMs: row.firstByteMs ?? defaults.firstByteMs,
        totalMs: row.totalMs ?? 0,
        readLimit: classOf(row.limit ?? 'read'),
        writeLimit: classOf(row.limit ?? 'write'),
        secret: row.secret ?? false,
        deprecation: row.deprecated && deprecationOf(row.name, row.deprecated),
      },
      segments: open ? segments.slice(0, -1) : segments,
      open,
    };
  });
  const seen = new Set<string>();
  for (const { route } of lines) {
    const key = `${route.pattern} ${route.methods?.join() ?? '*'}`;
    if (seen.has(key)) throw new Error(`gateway/routes.ts: ${route.name} repeats ${key}`);
    seen.add(key);
  }
  // By the first two segments, which no line has as a parameter: a request looks at a handful of lines.
  const byArea = new Map<string, Line[]>();
  for (const line of lines) {
    const area = line.segments.slice(0, 2).join('/');
    byArea.set(area, [...(byArea.get(area) ?? []), line]);
  }

  return {
    routes: lines.map(({ route }) => route),
    find(method, path) {
      const second = path.indexOf('/', 1);
      const third = second < 0 ? -1 : path.indexOf('/', second + 1);
      const candidates =
        byArea.get(path.slice(1, third < 0 ? path.length : third)) ??
        (second < 0 ? undefined : byArea.get(path.slice(1, second)));
      if (!candidates) throw new Problem('not-found', 'There is no such route.');
      let found: Route | undefined;
      let open: string[] | undefined;
      let openFits = false;
      let allowed: string[] | undefined;
      for (const line of candidates) {
        if (!fits(line, path)) continue;
        const { route } = line;
        const methods = route.methods ?? METHODS;
        const methodFits = methods.includes(method as Method);
        if (methodFits) found ??= route;
        else allowed = [...(allowed ?? []), ...methods];
        if (route.token !== 'none') continue;
        open = [...(open ?? []), ...methods];
        openFits ||= methodFits;
      }
      if (open && !openFits) throw notAllowed(open);
      if (found) return found;
      throw allowed ? notAllowed(allowed) : new Problem('not-found', 'There is no such route.');
    },
  };
}

const notAllowed = (methods: readonly string[]): Problem =>
  new Problem('method-not-allowed', undefined, { headers: { allow: [...new Set(methods)].join(', ') } });

function fits({ segments, open }: Line, path: string): boolean {
  let position = 0;
  for (const segment of segments) {
    if (position >= path.length) return false;
    const start = position + 1;
    let end = path.indexOf('/', start);
    if (end < 0) end = path.length;
    if (segment.charCodeAt(0) === OPEN_BRACE ? end === start : !isSegment(path, start, end, segment))
      return false;
    position = end;
  }
  return open || position === path.length;
}

const OPEN_BRACE = 123;
const isSegment = (path: string, start: number, end: number, segment: string): boolean =>
  end - start === segment.length && path.startsWith(segment, start);

function checkRow(row: GatewayRoute): void {
  const wrong = (what: string): never => {
    throw new Error(`gateway/routes.ts: ${row.name}: ${what}`);
  };
  if (!/^\/[a-z.{}A-Z*/-]+$/.test(row.pattern) || row.pattern.includes('//')) wrong(`pattern ${row.pattern}`);
  const segments = row.pattern.slice(1).split('/');
  if (segments.slice(0, 2).some((segment) => segment.startsWith('{'))) wrong('a parameter at its beginning');
  if (segments.slice(0, -1).includes('**')) wrong('** is the last segment only');
  if (!Number.isSafeInteger(row.bodyLimit) || row.bodyLimit < 0) wrong(`body limit ${row.bodyLimit}`);
  for (const ms of [row.tryMs, row.firstByteMs, row.totalMs])
    if (ms !== undefined && !(ms >= 0)) wrong(`a time-out of ${ms} ms`);
  if (row.limit !== undefined) {
    // What the buckets are called in the store: two classes of one name would share them.
    const isKnown = Object.hasOwn(RATE_CLASSES, typeof row.limit === 'string' ? row.limit : row.limit.name);
    if (isKnown !== (typeof row.limit === 'string')) wrong(`limit ${JSON.stringify(row.limit)}`);
  }
}

const classOf = (limit: RateClassName | RateClass): RateClass =>
  typeof limit === 'string' ? RATE_CLASSES[limit] : limit;

/** Which limit a request counts against. */
export const rateClassOf = (route: Route, method: string): RateClass =>
  method === 'GET' || method === 'HEAD' ? route.readLimit : route.writeLimit;
