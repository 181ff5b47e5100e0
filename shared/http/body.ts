import type { z } from 'zod';
import { type FieldError, Problem } from '../errors.ts';

/** The largest JSON body, in bytes. */
export const JSON_LIMIT = 1_048_576;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Parses a JSON body. Throws `unsupported-media-type` or `validation-failed`. An empty body is `undefined`. */
export function parseJson(request: Request, bytes: Uint8Array): unknown {
  if (bytes.byteLength === 0) return undefined;
  const type = request.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() ?? '';
  if (type !== 'application/json' && !type.endsWith('+json')) {
    throw new Problem('unsupported-media-type', 'Send application/json.');
  }
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new Problem('validation-failed', 'The body is not valid UTF-8.');
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem('validation-failed', 'The body is not valid JSON.');
  }
}

/** Reads a body of at most `limit` bytes into memory. Throws `too-large`; a body that breaks off is `validation-failed`. */
export async function readBytes(request: Request, limit: number): Promise<Uint8Array> {
  const declared = Number(request.headers.get('content-length') ?? 0);
  if (declared > limit) throw new Problem('too-large', `At most ${limit} bytes.`);
  if (!request.body) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
      size += chunk.byteLength;
      if (size > limit) throw new Problem('too-large', `At most ${limit} bytes.`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem('validation-failed', 'The body did not arrive whole.', { cause: error });
  }
  if (chunks.length === 1) return chunks[0]!;
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}

/** Parses with a schema. Throws `validation-failed` with the path and message of each fault, never the value. */
export function validate<T extends z.ZodType>(schema: T, value: unknown, where: string): z.output<T> {
  const result = check(schema, value);
  if (result.success) return result.data;
  const errors = result.errors.map(({ path, message }) => ({
    path: [where, path].filter(Boolean).join('.'),
    message,
  }));
  throw new Problem('validation-failed', `The ${where} is not valid.`, { errors });
}

/** The value as the schema has it, or at most 20 faults with the path and message of each, never the value. */
export function check<T extends z.ZodType>(
  schema: T,
  value: unknown,
): { success: true; data: z.output<T> } | { success: false; errors: FieldError[] } {
  const result = schema.safeParse(value, { error: inPlainWords });
  if (result.success) return result;
  const errors = result.error.issues.slice(0, 20).map((issue) => ({
    path: issue.path.map(String).join('.').slice(0, 200),
    message: issue.message.slice(0, 300),
  }));
  return { success: false, errors };
}

/** Says what zod would put in JavaScript's words, `undefined` and `NaN`. */
const inPlainWords: z.core.$ZodErrorMap = ({ code, input }) => {
  if (code !== 'invalid_type' && code !== 'invalid_value') return undefined;
  if (input === undefined) return 'required';
  return Number.isNaN(input) ? 'must be a number' : undefined;
};
