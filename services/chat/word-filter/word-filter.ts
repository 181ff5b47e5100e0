import type { FilterAction } from '../../../shared/contracts/chat-moderation.ts';
import { entryForm, formsOf } from './normalise.ts';

/** An entry of the list; `roomId` null: for every room. */
export interface FilterEntry {
  roomId: string | null;
  word: string;
  action: FilterAction;
}

export interface FilterMatch {
  word: string;
  action: FilterAction;
}

/** The list is read again when it is older than this, so every process knows a new word within a second. */
const FRESH_MS = 500;

/**
 * The word filter of the platform and of its rooms. Words match whole words, in whatever disguise `normalise.ts`
 * sees through and with letters repeated (`baaad`); `*` at an end of a word lets it go on there.
 */
export class WordFilter {
  #lists = new Map<string | null, CompiledList>();
  #readAt = Number.NEGATIVE_INFINITY;
  #version = 0;

  /** The list has changed here. */
  forget(): void {
    this.#readAt = Number.NEGATIVE_INFINITY;
    this.#version++;
  }

  /** Reads the list again unless it is fresh. `read` may run in the caller's transaction. */
  async refresh(read: () => Promise<FilterEntry[]>): Promise<void> {
    if (performance.now() - this.#readAt < FRESH_MS) return;
    const version = this.#version;
    const startedAt = performance.now();
    const byRoom = Map.groupBy(await read(), (entry) => entry.roomId);
    if (version !== this.#version) return this.refresh(read);
    const lists = new Map<string | null, CompiledList>();
    for (const [roomId, entries] of byRoom) {
      const last = this.#lists.get(roomId);
      lists.set(roomId, last?.fits(entries) ? last : new CompiledList(entries));
    }
    this.#lists = lists;
    this.#readAt = startedAt;
  }

  /** The entry that the text falls under, one that refuses before one that asks for a review. */
  match(roomId: string, text: string): FilterMatch | undefined {
    const lists = [this.#lists.get(null), this.#lists.get(roomId)].filter((list) => list !== undefined);
    if (lists.length === 0) return undefined;
    const forms = formsOf(text).map((form): Form => ({ text: form, words: form.match(WORDS) ?? [] }));
    for (const action of ['refuse', 'review'] as const) {
      for (const list of lists) {
        const word = list.match(forms, action);
        if (word !== undefined) return { word, action };
      }
    }
    return undefined;
  }
}

/** One list: whole words are looked up, whatever the length of the list; the others are tried one by one. */
class CompiledList {
  readonly #key: string;
  /** Whole words, by their letters without repetitions. */
  readonly #words = new Map<string, CompiledEntry[]>();
  readonly #patterns: CompiledEntry[] = [];

  constructor(entries: FilterEntry[]) {
    this.#key = keyOf(entries);
    for (const { word, action } of entries) {
      const { form, source, whole } = shapeOf(word);
      if (whole) {
        const entry = { word, action, pattern: new RegExp(`^${source}$`, 'u') };
        this.#words.set(squeezed(form), [...(this.#words.get(squeezed(form)) ?? []), entry]);
      } else {
        this.#patterns.push({ word, action, pattern: new RegExp(source, 'u') });
      }
    }
  }

  fits(entries: FilterEntry[]): boolean {
    return keyOf(entries) === this.#key;
  }

  match(forms: Form[], action: FilterAction): string | undefined {
    for (const { text, words } of forms) {
      for (const word of words) {
        const entries = this.#words.get(squeezed(word));
        const hit = entries?.find((entry) => entry.action === action && entry.pattern.test(word));
        if (hit) return hit.word;
      }
      const hit = this.#patterns.find((entry) => entry.action === action && entry.pattern.test(text));
      if (hit) return hit.word;
    }
    return undefined;
  }
}

interface CompiledEntry extends FilterMatch {
  pattern: RegExp;
}

interface Form {
  text: string;
  words: string[];
}

const WORDS = /[\p{L}\p{N}\p{M}]+/gu;

const squeezed = (word: string): string => word.replace(/(.)\1+/gu, '$1');

const keyOf = (entries: FilterEntry[]): string =>
  JSON.stringify(entries.map(({ word, action }) => [word, action]).sort());

/** Scripts that write without spaces between words. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

function shapeOf(word: string): { form: string; source: string; whole: boolean } {
  const form = entryForm(word.replace(/^\*+|\*+$/g, ''));
  const words = form.match(WORDS) ?? [];
  const free = UNSPACED.test(form);
  const left = word.startsWith('*') || free ? '' : '(?<![\\p{L}\\p{N}])';
  const right = word.endsWith('*') || free ? '' : '(?![\\p{L}\\p{N}])';
  const whole = words.length === 1 && left !== '' && right !== '';
  const body = words.map(repeatable).join('[^\\p{L}\\p{N}]+');
  return whole ? { form: words[0]!, source: body, whole } : { form, source: left + body + right, whole };
}

/** `bad` also as `baaad`; where an entry has a letter twice, twice or more. Runs differ, so nothing backtracks. */
const repeatable = (word: string): string =>
  word.replace(/(.)\1*/gu, (run, char: string) => {
    const { length } = [...run];
    return length === 1 ? `${char}+` : `${char}{${length},}`;
  });
