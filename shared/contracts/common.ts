import { z } from 'zod';

/** Shapes that every service shares. Unknown body fields are refused, so bodies are strict objects. */

export const Id = z.uuid().meta({ description: 'UUIDv7' });
export const Time = z.iso.datetime({ precision: 3 }).meta({ description: 'RFC 3339, UTC, milliseconds' });

export const ROLES = ['learner', 'teacher', 'admin'] as const;
export const Role = z.enum(ROLES);
export type Role = z.infer<typeof Role>;

export const SERVICES = ['auth', 'chat', 'content', 'profile', 'analytics', 'notifications'] as const;
export type ServiceName = (typeof SERVICES)[number];

// biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the purpose
const ONE_LINE = /^[^\u0000-\u001f\u007f-\u009f\u2028\u2029\u202d\u202e]*$/u;

/**
 * Text that people see: no control characters (NUL cannot be stored, and others forge what a reader sees), nor the
 * overrides that turn the writing direction of what follows around.
 */
export const line = (max: number, min = 1) =>
  z
    .string()
    .trim()
    .min(min)
    .max(max)
    .regex(ONE_LINE, 'must be one line without control characters')
    .refine((text) => text.isWellFormed(), 'must be well-formed Unicode');

/** Text of several lines: tabs and line breaks are fine, other control characters are not. */
export const prose = (max: number, min = 0) =>
  z
    .string()
    .min(min)
    .max(max)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the purpose
    .regex(/^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$/u, 'must not contain control characters')
    .refine((text) => text.isWellFormed(), 'must be well-formed Unicode');

export const PageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z.string().min(1).max(400).optional(),
});

/** `{items, nextCursor}`; `nextCursor` is null on the last page. */
export const page = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), nextCursor: z.string().nullable() });

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

export const ProblemDocument = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    code: z.string(),
    detail: z.string(),
    requestId: z.string(),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: 'Problem' });
