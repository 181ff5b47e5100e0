import { z } from 'zod';

/** Variables that both modes read. An empty value counts as absent. */
export const CommonEnvironment = z.object({
  PUBLIC_URL: z.url().optional(),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  LYCEUM_LIMIT_SCALE: z.coerce.number().positive().max(1e6).default(1),
  LYCEUM_ACCESS_TOKEN_SECONDS: z.coerce.number().int().min(1).max(3600).default(600),
  LYCEUM_ADMIN_EMAIL: z.email().optional(),
  LYCEUM_ADMIN_PASSWORD: z.string().min(10).max(128).optional(),
});

/** Base addresses with commas between them, of a service's replicas. */
export const Addresses = z
  .string()
  .transform((text) => text.split(',').map((address) => address.trim()))
  .pipe(z.array(z.url()).min(1));

export type Environment = Record<string, string | undefined>;

/** Parses the environment with a schema. Throws an Error that lists every wrong variable, never its value. */
export function parseEnvironment<T extends z.ZodType>(schema: T, env: Environment): z.output<T> {
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  );
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const faults = result.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
  throw new Error(`The configuration is not valid:\n${faults.join('\n')}`);
}

/** The administrator that the environment asks for; both variables or none. */
export function firstAdminOf(
  env: z.output<typeof CommonEnvironment>,
): { email: string; password: string } | undefined {
  const { LYCEUM_ADMIN_EMAIL: email, LYCEUM_ADMIN_PASSWORD: password } = env;
  if (!email !== !password) {
    throw new Error('Set both LYCEUM_ADMIN_EMAIL and LYCEUM_ADMIN_PASSWORD, or neither.');
  }
  return email && password ? { email, password } : undefined;
}
