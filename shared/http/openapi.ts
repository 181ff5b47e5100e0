import { z } from 'zod';
import { ProblemDocument, type ServiceName } from '../contracts/common.ts';
import type { KernelTables } from '../db/kernel.ts';
import type { Route } from './route.ts';

export interface OpenApiDocument {
  openapi: '3.1.0';
  info: { title: string; version: string; description?: string };
  paths: Record<string, Record<string, unknown>>;
  components: { schemas: Record<string, unknown>; securitySchemes: Record<string, unknown> };
  tags: { name: string; description?: string }[];
}

/**
 * The OpenAPI 3.1 document of a service, made from its routes. Schemas with an `id` in their metadata become
 * components. `x-lyceum-access` is the route's row of the access matrix.
 */
export function describeRoutes<S extends KernelTables>(
  service: ServiceName,
  basePath: string,
  routes: Route<S>[],
): OpenApiDocument {
  const schemas: Record<string, unknown> = {};
  const convert = (schema: z.ZodType, io: 'input' | 'output'): unknown => {
    const json = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Record<string, unknown>;
    // zod drops the examples of a schema that transforms, because it takes them for outputs; ours are inputs.
    const examples = io === 'input' ? schema.meta()?.examples : undefined;
    if (examples !== undefined) json.examples = examples;
    const {
      $defs,
      $schema: _,
      id,
      ...rest
    } = json as { $defs?: Record<string, unknown>; $schema?: string; id?: string };
    for (const [name, definition] of Object.entries($defs ?? {})) schemas[name] = hoist(definition);
    if (typeof id === 'string') {
      schemas[id] = hoist(rest);
      return { $ref: `#/components/schemas/${id}` };
    }
    return hoist(rest);
  };

  const problem = { 'application/problem+json': { schema: convert(ProblemDocument, 'output') } };
  const paths: OpenApiDocument['paths'] = {};
  for (const { spec } of routes) {
    const parameters = [
      ...fields(spec.params).map(([name, schema]) => ({
        name,
        in: 'path',
        required: true,
        schema: convert(schema, 'input'),
      })),
      ...fields(spec.query).map(([name, schema]) => ({
        name,
        in: 'query',
        required: !schema.safeParse(undefined).success,
        schema: convert(schema, 'input'),
      })),
      ...(spec.idempotent
        ? [
            {
              name: 'Idempotency-Key',
              in: 'header',
              required: false,
              schema: { type: 'string', maxLength: 200 },
            },
          ]
        : []),
    ];
    const content = spec.body
      ? { 'application/json': { schema: convert(spec.body, 'input') } }
      : Object.fromEntries((spec.rawBody?.contentTypes ?? []).map((type) => [type, { schema: {} }]));
    const responses: Record<string, unknown> = {};
    for (const [status, reply] of Object.entries(spec.replies)) {
      responses[status] = {
        description: reply.description,
        ...(reply.schema
          ? { content: { 'application/json': { schema: convert(reply.schema, 'output') } } }
          : reply.content
            ? { content: { [reply.content]: { schema: {} } } }
            : {}),
      };
    }
    if (spec.etag) responses[304] = { description: 'The caller has it (If-None-Match)' };
    responses.default = { description: 'A problem (RFC 9457)', content: problem };
    const path = (basePath + spec.path).replace(/\/$/, '');
    paths[path] = {
      ...paths[path],
      [spec.method]: {
        tags: [service],
        operationId: operationId(service, spec.method, spec.path),
        summary: spec.summary,
        ...(spec.description || spec.rawBody
          ? { description: spec.description ?? spec.rawBody?.description }
          : {}),
        security:
          spec.access.token === 'none'
            ? []
            : spec.access.token === 'optional'
              ? [{}, { bearer: [] }]
              : [{ bearer: [] }],
        ...(parameters.length > 0 ? { parameters } : {}),
        ...(spec.body || spec.rawBody
          ? { requestBody: { required: spec.body ? !spec.body.safeParse(undefined).success : true, content } }
          : {}),
        responses,
        'x-lyceum-access': spec.access.expect,
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: { title: `Lyceum ${service}`, version: '1' },
    paths,
    components: {
      schemas,
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
    },
    tags: [{ name: service }],
  };
}

const fields = (schema: z.ZodType | undefined): [string, z.ZodType][] =>
  schema instanceof z.ZodObject ? Object.entries(schema.shape as Record<string, z.ZodType>) : [];

const operationId = (service: string, method: string, path: string): string =>
  [service, method, ...path.split(/[^A-Za-z0-9]+/).filter(Boolean)]
    .map((word, index) => (index === 0 ? word : word[0]!.toUpperCase() + word.slice(1)))
    .join('');

/** zod refers to `#/$defs/X`; OpenAPI keeps shared schemas under components. */
const hoist = (schema: unknown): unknown =>
  JSON.parse(JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/'));
