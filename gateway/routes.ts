import type { ServiceName } from '../shared/contracts/common.ts';

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
  perUser?: Bucket;
  perAddress: Bucket;
}

/**
 * Sized for a school of 2,000 behind one address (NAT): everybody signs in within the first lesson, loads a page
 * of thirty calls at the bell, and keeps a session alive all day. `LYCEUM_LIMIT_SCALE` multiplies both numbers.
 */
export const RATE_CLASSES = {
  login: { name: 'login', perAddress: { capacity: 60, perSecond: 1 } },
  register: { name: 'register', perAddress: { capacity: 60, perSecond: 1 } },
  mail: { name: 'mail', perAddress: { capacity: 30, perSecond: 0.5 } },
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
    perUser: { capacity: 60, perSecond: 1 },
    perAddress: { capacity: 60, perSecond: 1 },
  },
  /** Requests whose token was refused: guessing tokens is limited, a page of stale tabs is not. */
  refused: { name: 'refused', perAddress: { capacity: 600, perSecond: 60 } },
  /** New sockets: a school whose server restarted comes back all at once. */
  socket: { name: 'socket', perAddress: { capacity: 2_000, perSecond: 50 } },
} as const satisfies Record<string, RateClass>;
export type RateClassName = keyof typeof RATE_CLASSES;

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
  /** Absent: `read` for GET and HEAD, `write` for the rest. */
  limit?: RateClassName;
  /** Milliseconds from the end of the request to the head of the reply, where the default does not do. */
  firstByteMs?: number;
}

const JSON_BODY = { body: 'json', bodyLimit: MiB } as const;

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
  { ...open('auth.keys', 'GET', '/.well-known/**', 'auth', 'read'), methods: ['GET', 'HEAD'] },
  service('auth', '/api/auth/**'),

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

  service('chat', '/api/chat/**'),
  service('notifications', '/api/notifications/**'),
  service('analytics', '/api/analytics/**'),
];

const compiled = ROUTES.map((route) => ({
  route,
  pattern: new RegExp(
    `^${route.pattern
      .replace(/[.]/g, '\\.')
      .replace(/\{\w+\}/g, '[^/]+')
      .replace(/\/\*\*$/, '(?:/.*)?')}$`,
  ),
}));

/** The line for a request, or undefined: then there is nothing there. */
export function matchRoute(method: string, path: string): GatewayRoute | undefined {
  return compiled.find(
    ({ route, pattern }) =>
      pattern.test(path) && (!route.methods || route.methods.includes(method as Method)),
  )?.route;
}

/**
 * The methods of a path that has public lines, or none: such lines name all methods of their path, so that another
 * method is refused as what it is, and not for want of a token.
 */
export const publicMethods = (path: string): Method[] => [
  ...new Set(
    compiled
      .filter(({ route, pattern }) => route.token === 'none' && pattern.test(path))
      .flatMap(({ route }) => route.methods ?? METHODS),
  ),
];

/** Which limit a request counts against. */
export const rateClassOf = (route: GatewayRoute, method: string): RateClass =>
  RATE_CLASSES[route.limit ?? (method === 'GET' || method === 'HEAD' ? 'read' : 'write')];
