/** Older than any event: facts with this time give way to every other. */
export const EPOCH = new Date(0);
