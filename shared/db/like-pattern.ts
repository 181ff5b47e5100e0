/** `%text%` for LIKE, with its own signs (`%`, `_`, `\`) taken literally. */
export const likePattern = (text: string): string => `%${text.replace(/[\\%_]/g, '\\$&')}%`;
