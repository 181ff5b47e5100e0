import { describe, expect, test } from 'bun:test';
import { type FilterEntry, WordFilter } from './word-filter.ts';

const ROOM = '01890000-0000-7000-8000-000000000001';

async function filterOf(...words: string[]): Promise<(text: string) => string | undefined> {
  const filter = new WordFilter();
  const entries: FilterEntry[] = words.map((word) => ({ roomId: null, word, action: 'refuse' }));
  await filter.refresh(async () => entries);
  return (text) => filter.match(ROOM, text)?.word;
}

describe('sees through', () => {
  for (const [trick, text] of [
    ['nothing', 'you scoundrel!'],
    ['capitals', 'SCOUNDREL'],
    ['full width', 'ｓｃｏｕｎｄｒｅｌ'],
    ['mathematical bold', '𝐬𝐜𝐨𝐮𝐧𝐝𝐫𝐞𝐥'],
    ['circled letters', 'ⓢⓒⓞⓤⓝⓓⓡⓔⓛ'],
    ['zero-width spaces', 's\u200bc\u200bo\u200bu\u200bn\u200bd\u200brel'],
    ['joiners and a byte order mark', 'sco\u200dun\ufeffdrel'],
    ['soft hyphens', 'scoun\u00addrel'],
    ['bidirectional controls', 'scoun\u202edrel'],
    ['variation selectors', 's\ufe0fcoundrel'],
    ['tag characters', 'scoun\u{e0061}drel'],
    ['accents', 'ščöuñdrél'],
    ['stacked marks', 's\u0334\u0335c\u0336oundrel'],
    ['Cyrillic look-alikes', 'ѕсоundrеl'],
    ['Cyrillic capitals', 'ЅСОUNDRЕL'],
    ['Greek look-alikes', 'scουndrel'],
    ['a small capital', 'sᴄoundrel'],
    ['long s', 'ſcoundrel'],
    ['digits', 'sc0undr3l'],
    ['signs', '$coundrel'],
    ['a bar for the l', 'scoundre|'],
    ['a one for the l', 'scoundre1'],
    ['a capital I for the l', 'scoundreI'],
    ['spaces', 's c o u n d r e l'],
    ['dots', 's.c.o.u.n.d.r.e.l'],
    ['dashes and spaces', 's - c - o - u - n - d - r - e - l'],
    ['repeated letters', 'scoooundrellll'],
    ['several at once', 'Ｓ.С.0.u\u0301.n.d.r.е.l'],
    ['quotes and Markdown', '**"scoundrel"**'],
  ] as const) {
    test(trick, async () => {
      expect((await filterOf('scoundrel'))(text)).toBe('scoundrel');
    });
  }
});

describe('leaves alone', () => {
  test('words that only contain an entry, and entries with a double letter', async () => {
    const match = await filterOf('ass', 'good');
    for (const text of ['assess the class', 'passing', 'Assam', 'as if', 'god', 'goodness']) {
      expect([text, match(text)]).toEqual([text, undefined]);
    }
    expect(match('what an ass.')).toBe('ass');
    expect(match('goooood')).toBe('good');
  });

  test('numbers, mentions, and vowels of other scripts', async () => {
    const match = await filterOf('loo', 'dead', 'bad', 'हद');
    expect(match('100 of 100')).toBeUndefined();
    expect(match('<@dead0000-0000-7000-8000-00000000bad0> hello')).toBeUndefined();
    expect(match('हिंदी')).toBeUndefined();
  });

  test('single letters that spell no entry', async () => {
    const match = await filterOf('abc');
    expect(match('plan a, b or x')).toBeUndefined();
    expect(match('vitamin a and b')).toBeUndefined();
    expect(match('a b c')).toBe('abc');
  });
});

test('a star lets a word go on, several words match over any space, and unspaced scripts match inside', async () => {
  const match = await filterOf('damn*', 'go away', '傻瓜', 'дурак');
  expect(match('damnation')).toBe('damn*');
  expect(match('goddamn')).toBeUndefined();
  expect(match('go,\n  AWAY')).toBe('go away');
  expect(match('你是傻瓜吗')).toBe('傻瓜');
  expect(match('ДУРАК!')).toBe('дурак');
});

test('signs in an entry are no pattern', async () => {
  const match = await filterOf('a.c', '(x|y)+');
  expect(match('abc')).toBeUndefined();
  expect(match('a c')).toBe('a.c');
  expect(match('x y')).toBe('(x|y)+');
});

test('refusing goes before reviewing, and a room has words of its own', async () => {
  const filter = new WordFilter();
  let entries: FilterEntry[] = [
    { roomId: null, word: 'maybe', action: 'review' },
    { roomId: ROOM, word: 'never', action: 'refuse' },
  ];
  await filter.refresh(async () => entries);
  expect(filter.match(ROOM, 'maybe never')).toEqual({ word: 'never', action: 'refuse' });
  expect(filter.match('another', 'maybe never')).toEqual({ word: 'maybe', action: 'review' });
  entries = [];
  filter.forget();
  await filter.refresh(async () => entries);
  expect(filter.match(ROOM, 'maybe never')).toBeUndefined();
});

test('text made to be slow is answered', async () => {
  const match = await filterOf('aaaaaaaaab', 'scoundrel', 'a b c d e f');
  for (const text of [
    'a'.repeat(4000),
    'a '.repeat(2000),
    's.'.repeat(2000),
    '\u0301'.repeat(4000),
    '1|!'.repeat(1300),
  ]) {
    expect(match(text)).toBeUndefined();
  }
});
