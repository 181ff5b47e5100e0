/** Longest search name, in characters: a cursor carries one and must stay short. */
const MAX = 60;

/** A name as the search compares it: without accents, case and double spaces, so that "asa" finds "Åsa". */
export const searchName = (text: string): string =>
  [...text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().replace(/\s+/gu, ' ').trim()]
    .slice(0, MAX)
    .join('');
