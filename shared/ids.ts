import { v7, validate } from 'uuid';

/** A new UUIDv7 (RFC 9562): ids sort by time of creation, so indexes stay dense. */
export const newId = (): string => v7();

export const isId = (text: string): boolean => validate(text);
