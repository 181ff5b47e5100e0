import { createHash, randomBytes } from 'node:crypto';

/** 256 random bits, URL-safe. */
export const newSecret = (): string => randomBytes(32).toString('base64url');

/** What the database keeps of a secret. It has full entropy, so a plain digest can't be guessed back. */
export const digestOf = (secret: string): string => createHash('sha256').update(secret).digest('base64url');
