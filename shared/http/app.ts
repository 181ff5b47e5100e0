import { createHash } from 'node:crypto';
import { Hono } from 'hono';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import { enforce } from '../auth/access.ts';
import type { TokenVerifier } from '../auth/tokens.ts';
import type { ServiceName } from '../contracts/common.ts';
import { idempotently } from '../db/idempotency.ts';
import type { KernelTables } from '../db/kernel.ts';
import { Problem, problemResponse, toProblem } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Log } from '../observability/log.ts';
import type { Metrics } from '../observability/metrics.ts';
import { newTraceparent, traceIdOf, validRequestId, validTraceparent } from '../observability/trace.ts';
import { JSON_LIMIT, parseJson, readBytes, validate } from './body.ts';
import { Context, type Origin } from './context.ts';
import { etagOf, matchesEtag, requireMatch } from './etag.ts';
import type { JsonReply, Route } from './route.ts';

export interface AppOptions<S extends KernelTables> {
  service: ServiceName;
  /** `/api/content` */
  basePath: string;
  routes: Route<S>[];
  db: Kysely<S>;
  tokens: TokenVerifier;
  log: Log;
  metrics: Metrics;
  nudge: () => void;
}

/** The HTTP door of a service: authenticate, enforce the access rule, validate, run the handler, map errors. */
export function createApp<S extends KernelTables>(options: AppOptions<S>): Hono {
  const { basePath, routes, log, metrics } = options;
  const app = new Hono();

  for (const route of routes) {
    const path = basePath + route.spec.path.replace(/\{(\w+)\}/g, ':$1').replace(/\/$/, '');
    app.on(route.spec.method.toUpperCase(), path, async (c) => {
      const started = performance.now();
      const request = c.req.raw;
      const origin = originOf(request);
      const requestLog = log.child({ requestId: origin.requestId, traceId: traceIdOf(origin.traceparent) });
      let response: Response;
      try {
        response = await run(options, route, request, () => c.req.param(), origin, requestLog);
      } catch (error) {
        response = failure(error, origin, requestLog, `${route.spec.method} ${path}`);
      }
      response.headers.set('x-request-id', origin.requestId);
      metrics.requests.record((performance.now() - started) / 1000, request.method, path, response.status);
      return response;
    });
  }

  const methodsOf = methodTable(basePath, routes);
  app.notFound((c) => {
    const { requestId } = originOf(c.req.raw);
    const allowed = methodsOf(c.req.path);
    if (allowed.length === 0)
      return problemResponse(new Problem('not-found', 'There is no such route.'), requestId);
    return problemResponse(
      new Problem('method-not-allowed', undefined, { headers: { allow: allowed.join(', ') } }),
      requestId,
    );
  });
  app.onError((error, c) => failure(error, originOf(c.req.raw), log, c.req.path));
  return app;
}

async function run<S extends KernelTables>(
  options: AppOptions<S>,
  route: Route<S>,
  request: Request,
  params: () => Record<string, string>,
  origin: Origin,
  log: Log,
): Promise<Response> {
  const { spec } = route;
  const caller =
    spec.access.token === 'none'
      ? undefined
      : await options.tokens.fromHeader(request.headers.get('authorization'));
  enforce(spec.access, caller);

  const context = new Context<S>(options.db, caller, origin, log, options.nudge);
  const parsedParams = spec.params ? validate(spec.params, decodeParams(params), 'params') : undefined;
  await route.authorize?.(context, { params: parsedParams, request });
  const bytes = readsBody(route, request) ? await readBytes(request, JSON_LIMIT) : undefined;
  const input = {
    params: parsedParams,
    query: spec.query ? validate(spec.query, queryOf(request), 'query') : undefined,
    body: bytes ? validate(spec.body ?? NO_FIELDS, parseJson(request, bytes), 'body') : undefined,
    request,
  };

  const key = spec.idempotent ? request.headers.get('idempotency-key') : null;
  if (key === null) return toResponse(route, await route.handle(context, input), request);

  if (!/^[\x21-\x7e]{1,200}$/.test(key)) {
    throw new Problem('validation-failed', 'Idempotency-Key must be 1 to 200 visible ASCII characters.');
  }
  const kept = await context.transaction((tx) =>
    idempotently(
      tx.db as unknown as Kysely<KernelTables>,
      {
        scope: `${caller?.userId ?? 'anonymous'} ${spec.method} ${new URL(request.url).pathname}`,
        key,
        bodyHash: createHash('sha256')
          .update(bytes ?? '')
          .digest('hex'),
      },
      async () => {
        const result = await route.handle(tx, input);
        if (result instanceof Response)
          throw new Error(`${spec.path}: an idempotent route must reply with JSON`);
        return { status: result.status, body: checked(route, result) };
      },
    ),
  );
  return toResponse(route, kept, request);
}

/** What a route without a body schema accepts: nothing, or an object without fields, which some clients always send. */
const NO_FIELDS = z.strictObject({}).optional();

/** A route that takes no body must see it all the same, to refuse the fields in it. */
function readsBody<S extends KernelTables>({ spec }: Route<S>, request: Request): boolean {
  if (spec.body) return true;
  return spec.rawBody === undefined && request.method !== 'GET' && request.method !== 'HEAD';
}

/** The body as its schema allows it; a reply that does not fit is our defect. */
function checked<S extends KernelTables>(route: Route<S>, result: JsonReply): unknown {
  const spec = route.spec.replies[result.status];
  if (!spec)
    throw new Error(`${route.spec.method} ${route.spec.path}: status ${result.status} is not documented`);
  return spec.schema ? spec.schema.parse(result.body) : undefined;
}

function toResponse<S extends KernelTables>(
  route: Route<S>,
  result: JsonReply | Response,
  request: Request,
): Response {
  if (result instanceof Response) return result;
  const body = checked(route, result);
  const headers: Record<string, string> = { 'cache-control': 'no-store', ...result.headers };
  if (body === undefined) return new Response(null, { status: result.status, headers });
  if (route.spec.etag && result.status === 200) {
    requireMatch(request, body);
    headers.etag = etagOf(body);
    headers['cache-control'] = 'private, no-cache';
    const known = request.headers.get('if-none-match');
    if (known && matchesEtag(known, headers.etag, true)) return new Response(null, { status: 304, headers });
  }
  const bytes = Buffer.from(JSON.stringify(body));
  headers['content-type'] = 'application/json; charset=utf-8';
  // Hono drops the body of a reply to HEAD; said here, its length stays (RFC 9110, 9.3.2).
  headers['content-length'] = String(bytes.byteLength);
  return new Response(bytes, { status: result.status, headers });
}

function failure(error: unknown, origin: Origin, log: Log, where: string): Response {
  const problem = toProblem(error);
  if (problem.status >= 500) {
    const cause = problem.cause ?? problem;
    const reason = cause instanceof Error ? (cause.stack ?? String(cause)) : String(cause);
    log[problem.status === 500 ? 'error' : 'warn']({ where, code: problem.code, reason }, 'request failed');
  }
  return problemResponse(problem, origin.requestId);
}

/** Request id and trace context as the gateway set them; made here for a caller that came another way. */
export function originOf(request: Request): Origin {
  const requestId = request.headers.get('x-request-id');
  const traceparent = request.headers.get('traceparent');
  return {
    requestId: validRequestId(requestId) ? requestId : newId(),
    traceparent: validTraceparent(traceparent) ? traceparent : newTraceparent(),
    ip: request.headers.get('x-forwarded-for')?.split(',').at(-1)?.trim() ?? '',
    userAgent: (request.headers.get('user-agent') ?? '').slice(0, 300),
  };
}

function decodeParams(params: () => Record<string, string>): Record<string, string> {
  try {
    return params();
  } catch {
    throw new Problem('validation-failed', 'The path is not valid.');
  }
}

function queryOf(request: Request): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = {};
  const { searchParams } = new URL(request.url);
  for (const name of new Set(searchParams.keys())) {
    const values = searchParams.getAll(name);
    Object.defineProperty(query, name, { value: values.length === 1 ? values[0] : values, enumerable: true });
  }
  return query;
}

/** Which methods a path has: for 405 with Allow (RFC 9110, 15.5.6). */
function methodTable<S extends KernelTables>(
  basePath: string,
  routes: Route<S>[],
): (path: string) => string[] {
  const table = routes.map(({ spec }) => ({
    pattern: new RegExp(`^${(basePath + spec.path).replace(/\/$/, '').replace(/\{\w+\}/g, '[^/]+')}$`),
    method: spec.method.toUpperCase(),
  }));
  return (path) => {
    const methods = new Set(table.filter((entry) => entry.pattern.test(path)).map((entry) => entry.method));
    if (methods.has('GET')) methods.add('HEAD');
    return [...methods].sort();
  };
}
