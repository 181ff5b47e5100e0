import { z } from 'zod';
import { Id, line, Role, Time } from './common.ts';

/** Addresses compare without case; 254 is the longest that SMTP carries (RFC 5321, 4.5.3.1.3). */
export const Email = z
  .string()
  .trim()
  .toLowerCase()
  .max(254)
  .pipe(z.email())
  .meta({ description: 'E-mail address' });

/** As people count them, roughly: an emoji is one code point, but two of JavaScript's units. */
const charactersIn = (text: string): number => [...text].length;

/** Any characters; compared after Unicode NFKC (NIST SP 800-63B, 5.1.1.2). */
export const Password = z
  .string()
  .refine((text) => text.isWellFormed(), 'must be well-formed Unicode')
  .transform((text) => text.normalize('NFKC'))
  .refine((text) => charactersIn(text) >= 10, 'must have at least 10 characters')
  .refine((text) => charactersIn(text) <= 128, 'must have at most 128 characters')
  .meta({ description: '10 to 128 characters, any, not among the commonly used' });

/** What a person types at sign-in: only bounded, so that a wrong one is wrong, not invalid. */
const TypedPassword = z.string().min(1).max(1024);
const Secret = z.string().min(1).max(200);

export const User = z
  .object({
    id: Id,
    email: z.string(),
    displayName: z.string(),
    role: Role,
    emailVerified: z.boolean(),
    createdAt: Time,
  })
  .meta({ id: 'User' });
export type User = z.infer<typeof User>;

export const UserReply = z.object({ user: User });

/** Administrators also see whether an account is disabled. */
export const ManagedUser = User.extend({ disabled: z.boolean() }).meta({ id: 'ManagedUser' });

export const Registration = z.strictObject({ email: Email, password: Password, displayName: line(80) }).meta({
  examples: [
    { email: 'new.person@school.example', password: 'a long enough phrase', displayName: 'New Person' },
  ],
});

export const VerifyEmail = z
  .strictObject({ token: Secret })
  .meta({ examples: [{ token: 'not-a-real-token' }] });
export const EmailOnly = z
  .strictObject({ email: Email })
  .meta({ examples: [{ email: 'someone@school.example' }] });

export const Login = z
  .strictObject({
    email: Email,
    password: TypedPassword,
    session: z.enum(['token', 'cookie']).default('token'),
  })
  .meta({ examples: [{ email: 'someone@school.example', password: 'a long enough phrase' }] });

export const Refresh = z.strictObject({ refreshToken: Secret.optional() }).optional();

export const Tokens = z
  .object({
    accessToken: z.string(),
    tokenType: z.literal('Bearer'),
    /** Seconds. */
    expiresIn: z.number().int(),
    /** Absent when the session lives in the cookie. */
    refreshToken: z.string().optional(),
    user: User,
  })
  .meta({ id: 'Tokens' });
export type Tokens = z.infer<typeof Tokens>;

export const Session = z
  .object({
    id: Id,
    createdAt: Time,
    lastUsedAt: Time,
    ip: z.string(),
    userAgent: z.string(),
    current: z.boolean(),
  })
  .meta({ id: 'Session' });
export type Session = z.infer<typeof Session>;

export const ResetPassword = z
  .strictObject({ token: Secret, password: Password })
  .meta({ examples: [{ token: 'not-a-real-token', password: 'another long phrase' }] });

export const ChangePassword = z
  .strictObject({ currentPassword: TypedPassword, newPassword: Password })
  .meta({ examples: [{ currentPassword: 'a long enough phrase', newPassword: 'another long phrase' }] });

export const ChangeUser = z
  .strictObject({ role: Role.optional(), disabled: z.boolean().optional() })
  .refine((change) => change.role !== undefined || change.disabled !== undefined, 'nothing to change')
  .meta({ examples: [{ disabled: false }] });
