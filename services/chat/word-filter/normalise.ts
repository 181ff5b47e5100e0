import skeletonOf from 'unhomoglyph';

/**
 * Text as the word filter compares it. Tricks it sees through:
 * - other forms of a character: full-width, bold, circled, ligatures (NFKC), case, `ß` and `ſ`
 * - accents and other marks on Latin, Greek and Cyrillic letters; elsewhere marks are letters' vowels and stay
 * - what is not seen: zero-width characters, soft hyphens, bidirectional controls, variation selectors, tags
 * - look-alikes of Latin letters in any script (Unicode's confusables, UTS #39), small ones by their capitals too
 * - digits and signs for letters, in words that have a letter: `0 1 3 4 5 7 8 @ $ ! |`
 * - letters spelled out: `b a d`, `b.a.d`, `b-a-d`
 * Limits: words hidden by dropping or swapping letters, look-alikes of non-Latin letters among each other, text in
 * pictures, and several letters for one (`vv` for `w`) are not seen through.
 */

const MENTION = /<@[^<>\s]{1,40}>/g;
const INVISIBLE = /\p{Default_Ignorable_Code_Point}/gu;
const MARKS = /(?<=[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}]\p{M}*)\p{M}/gu;

/** Sign or digit → the letter it stands for; `1`, `|` and `!` stand for two. */
const STAND_INS: Record<string, string> = {
  0: 'o',
  3: 'e',
  4: 'a',
  5: 's',
  7: 't',
  8: 'b',
  '@': 'a',
  $: 's',
};

/** What people see alike is equal in at least one of these forms. Mentions say nothing: their ids may spell words. */
export function formsOf(text: string): string[] {
  const plain = plainOf(text.replace(MENTION, ' '));
  const forms = new Set<string>();
  for (const bar of ['i', 'l'] as const) {
    // A capital I beside small letters is read as a small l.
    const read = bar === 'l' ? plain.replace(/(?<=\p{Ll})I|I(?=\p{Ll})/gu, 'l') : plain;
    const written = latin(read);
    for (const form of [written, spelledTogether(written)]) {
      forms.add(form);
      forms.add(standInsAsLetters(form, bar));
    }
  }
  return [...forms];
}

/** One form, for an entry of the list: it is written without tricks. */
export const entryForm = (word: string): string => latin(plainOf(word));

const plainOf = (text: string): string =>
  text
    .normalize('NFKC')
    .replace(INVISIBLE, '')
    .normalize('NFD')
    .replace(MARKS, '')
    // Once more, as what was between a letter and its mark is gone.
    .normalize('NFC');

/** Small letters, those that look Latin as the Latin ones. */
const latin = (text: string): string => {
  let out = '';
  for (const char of text) out += latinOf(char);
  return out;
};

const known = new Map<string, string>();

function latinOf(char: string): string {
  if (char < '\u0080') return char.toLowerCase();
  const before = known.get(char);
  if (before !== undefined) return before;
  const found = lookAlike(char);
  // The characters of Unicode are many; those that people write in a school are few.
  if (known.size < 10_000) known.set(char, found);
  return found;
}

function lookAlike(char: string): string {
  const small = fold(char);
  if (!/\p{L}|\p{N}|\p{S}/u.test(char)) return small;
  for (const form of [char, char.toUpperCase(), small]) {
    const skeleton = skeletonOf(form);
    if (!/^[A-Za-z]{1,2}$/.test(skeleton)) continue;
    // Every upright bar has the skeleton l; a capital one is an I.
    return skeleton === 'l' && form === form.toUpperCase() && form !== form.toLowerCase()
      ? 'i'
      : fold(skeleton);
  }
  return small;
}

/** Case folding, near enough: through the capitals, so that `ß` and `ſ` follow, and one sigma. */
const fold = (text: string): string => text.toUpperCase().toLowerCase().replaceAll('ς', 'σ');

const WORD_WITH_STAND_INS = /[\p{L}\p{N}@$!|]+/gu;

const standInsAsLetters = (text: string, bar: 'i' | 'l'): string =>
  text.replace(WORD_WITH_STAND_INS, (word) =>
    /\p{L}/u.test(word)
      ? word.replace(/[034578@$]/g, (sign) => STAND_INS[sign]!).replace(/[1|]|!(?=[\p{L}\p{N}])/gu, bar)
      : word,
  );

/** Three or more letters (or what stands for one) that stand alone, with up to three other characters between them. */
const SPELLED =
  /(?<![\p{L}\p{N}])[\p{L}\p{N}@$|](?:[^\p{L}\p{N}\n@$|]{1,3}[\p{L}\p{N}@$|](?![\p{L}\p{N}])){2,}/gu;

/** What is spelled out, as one word. */
const spelledTogether = (text: string): string =>
  text.replace(SPELLED, (letters) => letters.replace(/[^\p{L}\p{N}@$|]/gu, ''));
