import MarkdownIt, { type Token } from 'markdown-it';

/**
 * The text of a chat message as a tree that a client draws with its own elements; there is no HTML in it, and what
 * looks like HTML is text. The server stores the text as it was written. The subset of CommonMark:
 * `*emphasis*`, `**strong**`, `~~strike~~`, `` `code` ``, fenced code, `> quote`, lists, `[text](address)`, `<address>`
 * and bare http(s) addresses, `\` before a sign to have the sign; a line break is one. Addresses are http, https or
 * mailto: with any other the text stays text. No headings, tables, images, indented code, rules, footnotes, HTML.
 * Of our own: `<@userId>` and `<@room>`.
 */

export type Inline =
  | { type: 'text'; text: string }
  | { type: 'break' }
  | { type: 'code'; text: string }
  | { type: 'emphasis' | 'strong' | 'strike'; children: Inline[] }
  | { type: 'link'; href: string; children: Inline[] }
  | { type: 'mention'; userId: string }
  | { type: 'mention-room' };

export type Block =
  | { type: 'paragraph'; children: Inline[] }
  | { type: 'code-block'; language: string; text: string }
  | { type: 'quote'; children: Block[] }
  | { type: 'list'; ordered: boolean; start: number; items: Block[][] };

/** Quotes in quotes and lists in lists deeper than this are shown as they were written. */
const DEEPEST = 20;
const ADDRESS = /^(?:https?:\/\/|mailto:)[^\s]+$/i;
const MENTION = /<@(room|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})>/gi;

const markdown = new MarkdownIt('zero', {
  html: false,
  linkify: true,
  breaks: true,
  maxNesting: DEEPEST + 2,
}).enable([
  'autolink',
  'backticks',
  'balance_pairs',
  'blockquote',
  'emphasis',
  'entity',
  'escape',
  'fence',
  'fragments_join',
  'link',
  'linkify',
  'list',
  'newline',
  'strikethrough',
]);
markdown.validateLink = (address) => ADDRESS.test(address);
// Only what is written as an address: `example.org` and `a@example.org` are words.
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });

/** Reads a message's text. Never throws, and loses no text. */
export function parseChatText(body: string): Block[] {
  const tokens = markdown.parse(body, {});
  if (tokens.some((token) => token.level >= DEEPEST)) return [plainParagraph(body)];
  return new Reader(tokens).blocks();
}

/** The text alone, for previews. `nameOf` says what a mentioned person is called. */
export function plainText(blocks: Block[], nameOf: (userId: string) => string = () => ''): string {
  const inline = (nodes: Inline[]): string =>
    nodes
      .map((node) => {
        if (node.type === 'text' || node.type === 'code') return node.text;
        if (node.type === 'break') return '\n';
        if (node.type === 'mention') return `@${nameOf(node.userId)}`;
        if (node.type === 'mention-room') return '@room';
        return inline(node.children);
      })
      .join('');
  const block = (node: Block): string => {
    if (node.type === 'paragraph') return inline(node.children);
    if (node.type === 'code-block') return node.text;
    if (node.type === 'quote') return plainText(node.children, nameOf);
    return node.items.map((item) => plainText(item, nameOf)).join('\n');
  };
  return blocks.map(block).join('\n');
}

const plainParagraph = (body: string): Block => ({
  type: 'paragraph',
  children: body
    .split('\n')
    .flatMap((line, index): Inline[] => [
      ...(index > 0 ? [{ type: 'break' as const }] : []),
      ...textNodes(line),
    ]),
});

const SPANS: Record<string, 'emphasis' | 'strong' | 'strike'> = {
  em_open: 'emphasis',
  strong_open: 'strong',
  s_open: 'strike',
};

/** Turns markdown-it's flat list of opening and closing tokens into the tree. */
class Reader {
  #at = 0;

  constructor(private readonly tokens: Token[]) {}

  blocks(end?: string): Block[] {
    const blocks: Block[] = [];
    for (let token = this.#next(); token && token.type !== end; token = this.#next()) {
      if (token.type === 'paragraph_open') {
        blocks.push({ type: 'paragraph', children: new Reader(this.#next()?.children ?? []).inlines() });
        this.#next();
      } else if (token.type === 'fence') {
        blocks.push({
          type: 'code-block',
          language: token.info.trim(),
          text: token.content,
        });
      } else if (token.type === 'blockquote_open') {
        blocks.push({ type: 'quote', children: this.blocks('blockquote_close') });
      } else if (token.type === 'bullet_list_open' || token.type === 'ordered_list_open') {
        blocks.push(this.#list(token));
      }
    }
    return blocks;
  }

  inlines(end?: string): Inline[] {
    const nodes: Inline[] = [];
    for (let token = this.#next(); token && token.type !== end; token = this.#next()) {
      const span = SPANS[token.type];
      if (span) nodes.push({ type: span, children: this.inlines(token.type.replace('_open', '_close')) });
      else if (token.type === 'link_open') nodes.push(this.#link(token));
      else if (token.type === 'code_inline') nodes.push({ type: 'code', text: token.content });
      else if (token.type === 'softbreak' || token.type === 'hardbreak') nodes.push({ type: 'break' });
      else nodes.push(...textNodes(token.content));
    }
    return nodes;
  }

  #list(open: Token): Block {
    const items: Block[][] = [];
    const close = open.type.replace('_open', '_close');
    for (let token = this.#next(); token && token.type !== close; token = this.#next())
      items.push(this.blocks('list_item_close'));
    const ordered = open.type === 'ordered_list_open';
    return { type: 'list', ordered, start: ordered ? Number(open.attrGet('start') ?? 1) : 1, items };
  }

  #link(open: Token): Inline {
    const href = String(open.attrGet('href') ?? '');
    return { type: 'link', href, children: this.inlines('link_close') };
  }

  #next(): Token | undefined {
    return this.tokens[this.#at++];
  }
}

/** Text with its mentions. */
function textNodes(text: string): Inline[] {
  const nodes: Inline[] = [];
  let from = 0;
  for (const match of text.matchAll(MENTION)) {
    if (match.index > from) nodes.push({ type: 'text', text: text.slice(from, match.index) });
    const id = match[1]!.toLowerCase();
    nodes.push(id === 'room' ? { type: 'mention-room' } : { type: 'mention', userId: id });
    from = match.index + match[0].length;
  }
  if (from < text.length) nodes.push({ type: 'text', text: text.slice(from) });
  return nodes;
}
