import type { z } from 'zod';
import type { Access } from '../auth/access.ts';
import type { KernelTables } from '../db/kernel.ts';
import type { Context } from './context.ts';

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

export interface ReplySpec {
  description: string;
  /** JSON body; it is parsed on the way out, so that a reply never has a field its schema does not name. */
  schema?: z.ZodType;
  /** Media type of a body that is not JSON. */
  content?: string;
}

type Parsed<T> = T extends z.ZodType ? z.output<T> : undefined;

export interface RouteSpec<P, Q, B> {
  method: Method;
  /** Below the service's base path, parameters in braces: `/courses/{courseId}`. */
  path: string;
  summary: string;
  description?: string;
  /** Who may call, enforced before anything is read; also the route's row of the access matrix. */
  access: Access;
  params?: P;
  query?: Q;
  /** JSON body. */
  body?: B;
  /** The handler reads the body itself from `request`; the text describes it. */
  rawBody?: { description: string; contentTypes: string[] };
  replies: Record<number, ReplySpec>;
  /** Honours Idempotency-Key: the whole handler runs in one transaction with the key. For POSTs that create. */
  idempotent?: boolean;
  /** A GET whose reply gets an ETag and answers If-None-Match. */
  etag?: boolean;
}

export interface RouteInput<P, Q, B> {
  params: Parsed<P>;
  query: Parsed<Q>;
  body: Parsed<B>;
  /** The request as it came, for raw bodies and conditional headers. */
  request: Request;
}

/** A JSON reply. `undefined` as body sends none. */
export interface JsonReply {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

export const reply = (status: number, body?: unknown, headers?: Record<string, string>): JsonReply => ({
  status,
  body,
  ...(headers ? { headers } : {}),
});

export interface Route<S extends KernelTables = KernelTables> {
  spec: RouteSpec<z.ZodType | undefined, z.ZodType | undefined, z.ZodType | undefined>;
  /** Asked before the body is read, where the caller shows something else than an access token. Throws. */
  authorize?:
    | ((context: Context<S>, input: { params: unknown; request: Request }) => Promise<unknown>)
    | undefined;
  handle(
    context: Context<S>,
    input: { params: unknown; query: unknown; body: unknown; request: Request },
  ): Promise<JsonReply | Response>;
}

/**
 * The one way to define a route: schema, access rule, documentation and handler stand together.
 * Bind it to a service's tables once: `const route = routeFor<ChatTables>()`.
 */
export const routeFor =
  <S extends KernelTables>() =>
  <
    P extends z.ZodType | undefined = undefined,
    Q extends z.ZodType | undefined = undefined,
    B extends z.ZodType | undefined = undefined,
  >(
    spec: RouteSpec<P, Q, B>,
    handle: (context: Context<S>, input: RouteInput<P, Q, B>) => Promise<JsonReply | Response>,
    authorize?: (context: Context<S>, input: { params: Parsed<P>; request: Request }) => Promise<unknown>,
  ): Route<S> =>
    ({ spec, handle, authorize }) as unknown as Route<S>;
