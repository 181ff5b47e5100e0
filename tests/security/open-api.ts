import { ACTORS, type Actor, type Outcome } from '../../shared/auth/access.ts';

/** One operation of the merged OpenAPI document, as far as the access matrix is concerned. */
export interface Operation {
  /** `GET /api/content/courses/{courseId}` */
  title: string;
  method: string;
  path: string;
  /** The row of the matrix that stands beside the route's definition; absent: the route was forgotten. */
  expect: Record<Actor, Outcome> | undefined;
  /** Values for its parameters that do not depend on a world: the first of an enumeration. */
  choices: Record<string, string>;
  /** Parameters to send: those that are required, and the name without which an upload is nothing. */
  query: string[];
  /** Gives pages with a cursor. */
  isList: boolean;
  /** The example of the JSON body, with placeholders such as `{courseId}`. */
  sampleBody: unknown;
  takesJson: boolean;
  /** Media type of a body that is no JSON. */
  rawType: string | undefined;
}

interface Schema {
  $ref?: string;
  enum?: string[];
  examples?: unknown[];
}
interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  schema: Schema;
}
interface Description {
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  'x-lyceum-access'?: Record<string, string>;
}
export interface OpenApi {
  paths: Record<string, Record<string, Description>>;
  components: { schemas: Record<string, Schema> };
}

export function operationsOf(document: OpenApi): Operation[] {
  const resolve = (schema: Schema): Schema =>
    schema.$ref ? (document.components.schemas[schema.$ref.split('/').at(-1)!] ?? {}) : schema;
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => {
      const parameters = described.parameters ?? [];
      const content = described.requestBody?.content ?? {};
      const json = content['application/json'];
      const rawTypes = Object.keys(content).filter((type) => type !== 'application/json');
      return {
        title: `${method.toUpperCase()} ${path}`,
        method: method.toUpperCase(),
        path,
        expect: rowOf(described),
        choices: Object.fromEntries(
          parameters.flatMap(({ name, schema }) => {
            const first = resolve(schema).enum?.[0];
            return first === undefined ? [] : [[name, first]];
          }),
        ),
        query: parameters
          .filter(
            (parameter) => parameter.in === 'query' && (parameter.required || parameter.name === 'name'),
          )
          .map(({ name }) => name),
        isList: parameters.some((parameter) => parameter.in === 'query' && parameter.name === 'cursor'),
        sampleBody: json ? resolve(json.schema).examples?.[0] : undefined,
        takesJson: json !== undefined,
        rawType: rawTypes.find((type) => type === 'image/png') ?? rawTypes[0],
      };
    }),
  );
}

/** A row counts only when it names every actor. */
function rowOf(described: Description): Record<Actor, Outcome> | undefined {
  const row = described['x-lyceum-access'];
  return row && ACTORS.every((actor) => row[actor]) ? (row as Record<Actor, Outcome>) : undefined;
}

/** Puts values in place of `{name}`, in every string of a sample. Throws when one is not known. */
export function fill<T>(sample: T, values: Record<string, string>): T {
  const text = (template: string) =>
    template.replace(/\{(\w+)\}/g, (_, name: string) => {
      if (values[name] === undefined) throw new Error(`The access matrix has no value for {${name}}`);
      return values[name];
    });
  if (typeof sample === 'string') return text(sample) as T;
  if (Array.isArray(sample)) return sample.map((item) => fill(item, values)) as T;
  if (typeof sample !== 'object' || sample === null) return sample;
  return Object.fromEntries(Object.entries(sample).map(([key, value]) => [key, fill(value, values)])) as T;
}
