import { describe, expect, test } from 'bun:test';
import { type Block, type Inline, parseChatText, plainText } from './chat-text.ts';

const text = (value: string): Inline => ({ type: 'text', text: value });
const paragraph = (...children: Inline[]): Block => ({ type: 'paragraph', children });

/** Every address in the tree. */
function addresses(nodes: (Block | Inline)[]): string[] {
  return nodes.flatMap((node) => {
    const below = 'children' in node ? addresses(node.children) : [];
    if (node.type === 'list') return addresses(node.items.flat());
    return node.type === 'link' ? [node.href, ...below] : below;
  });
}

describe('the subset', () => {
  for (const [source, tree] of [
    ['plain', [paragraph(text('plain'))]],
    [
      '*a* **b** ~~c~~ `d*e*`',
      [
        paragraph(
          { type: 'emphasis', children: [text('a')] },
          text(' '),
          { type: 'strong', children: [text('b')] },
          text(' '),
          { type: 'strike', children: [text('c')] },
          text(' '),
          { type: 'code', text: 'd*e*' },
        ),
      ],
    ],
    ['one\ntwo\n\nthree', [paragraph(text('one'), { type: 'break' }, text('two')), paragraph(text('three'))]],
    ['```ts\nlet a = "<b>";\n```', [{ type: 'code-block', language: 'ts', text: 'let a = "<b>";\n' }]],
    [
      '> said\n> **so**',
      [
        {
          type: 'quote',
          children: [paragraph(text('said'), { type: 'break' }, { type: 'strong', children: [text('so')] })],
        },
      ],
    ],
    [
      '- a\n- b',
      [{ type: 'list', ordered: false, start: 1, items: [[paragraph(text('a'))], [paragraph(text('b'))]] }],
    ],
    [
      '3. a\n4. b',
      [{ type: 'list', ordered: true, start: 3, items: [[paragraph(text('a'))], [paragraph(text('b'))]] }],
    ],
    [
      '[here](https://example.org/a?b=c&d)',
      [paragraph({ type: 'link', href: 'https://example.org/a?b=c&d', children: [text('here')] })],
    ],
    [
      'see https://example.org/x.',
      [
        paragraph(
          text('see '),
          { type: 'link', href: 'https://example.org/x', children: [text('https://example.org/x')] },
          text('.'),
        ),
      ],
    ],
    ['\\*not\\*', [paragraph(text('*not*'))]],
  ] as [string, Block[]][]) {
    test(JSON.stringify(source), () => {
      expect(parseChatText(source)).toEqual(tree);
    });
  }

  test('mentions, but not in code', () => {
    const id = '01890000-0000-7000-8000-00000000000a';
    expect(parseChatText(`<@${id.toUpperCase()}> and **<@room>**, \`<@${id}>\` <@nobody>`)).toEqual([
      paragraph(
        { type: 'mention', userId: id },
        text(' and '),
        { type: 'strong', children: [{ type: 'mention-room' }] },
        text(', '),
        { type: 'code', text: `<@${id}>` },
        text(' <@nobody>'),
      ),
    ]);
    expect(plainText(parseChatText(`Hello <@${id}>\n> **all** of <@room>`), () => 'Ada')).toBe(
      'Hello @Ada\nall of @room',
    );
  });

  test('what is not in it stays text', () => {
    for (const source of [
      '# no heading',
      '---',
      '| a | b |\n| - | - |',
      '    indented',
      '<b>bold</b>',
      'www.example.org',
      'a@example.org',
    ]) {
      const tree = parseChatText(source);
      expect(tree.every((block) => block.type === 'paragraph')).toBe(true);
      expect(addresses(tree)).toEqual([]);
      expect(plainText(tree).replace(/\s/g, '')).toBe(source.replace(/\s/g, ''));
    }
    expect(addresses(parseChatText('![alt](https://example.org/x.png)'))).toEqual([
      'https://example.org/x.png',
    ]);
  });

  test('emoji, right-to-left text and combining characters are as they were', () => {
    const source = '👩‍🏫🏳️‍🌈 שלום עולם e\u0301 नमस्ते \u202babc\u202c';
    expect(parseChatText(source)).toEqual([paragraph(text(source))]);
  });
});

describe('what is meant to do harm', () => {
  test('no address but http, https and mailto', () => {
    for (const address of [
      'javascript:alert(1)',
      'JaVaScRiPt:alert(1)',
      'java\nscript:alert(1)',
      '&#106;avascript:alert(1)',
      '\u0001javascript:alert(1)',
      'vbscript:x',
      'data:text/html,<script>alert(1)</script>',
      'data:image/svg+xml;base64,AAAA',
      'file:///etc/passwd',
      '//evil.example',
      '/relative',
      '#fragment',
      'blob:https://example.org/1',
    ]) {
      for (const source of [
        `[x](${address})`,
        `<${address}>`,
        `[x](<${address}>)`,
        address,
        `![x](${address})`,
      ]) {
        for (const href of addresses(parseChatText(source)))
          expect([source, href]).toEqual([source, expect.stringMatching(/^(?:https?:\/\/|mailto:)/)]);
      }
    }
  });

  test('HTML is text', () => {
    for (const source of [
      '<script>alert(1)</script>',
      '<img src=x onerror=alert(1)>',
      '<svg/onload=alert(1)>',
      '<a href="javascript:alert(1)">x</a>',
      '&lt;script&gt;',
      '<!-- x --><b>',
      '**<iframe src="x">**',
    ]) {
      expect(JSON.stringify(parseChatText(source))).not.toMatch(/"type":"html/);
    }
    expect(parseChatText('<b>x</b>')).toEqual([paragraph(text('<b>x</b>'))]);
    expect(addresses(parseChatText('[x](https://a.example/"onmouseover="alert(1))'))).toEqual([
      'https://a.example/%22onmouseover=%22alert(1)',
    ]);
  });

  test('deep and long text is answered, and none of it is lost', () => {
    for (const source of [
      `${'>'.repeat(3_000)} deep`,
      `${'- '.repeat(1_900)}deep`,
      `${'['.repeat(2_000)}deep${']'.repeat(1_990)}`,
      `${'*'.repeat(3_990)}deep`,
      `x${'`'.repeat(3_990)}deep`,
      `${'**_~~'.repeat(700)}deep`,
      `${'<'.repeat(3_990)}deep`,
      `${'&'.repeat(3_990)}deep`,
      `${'[a]('.repeat(900)}deep`,
      `${'\\'.repeat(3_990)}deep`,
    ]) {
      expect([source.slice(0, 20), plainText(parseChatText(source)).includes('deep')]).toEqual([
        source.slice(0, 20),
        true,
      ]);
    }
  });

  test('whatever the signs, there is a tree with letters as written', () => {
    const signs = [
      '*',
      '_',
      '~',
      '`',
      '[',
      ']',
      '(',
      ')',
      '<',
      '>',
      '!',
      '#',
      '-',
      '1. ',
      '\n',
      '  ',
      '\\',
      '&',
      '@',
      'x',
      'https://e.org',
      '|',
    ];
    let seed = 7;
    const random = (): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed / 2_147_483_648;
    };
    for (let round = 0; round < 3_000; round++) {
      const source = Array.from({ length: 30 }, () => signs[Math.floor(random() * signs.length)]).join('');
      const tree = parseChatText(source);
      expect(addresses(tree).filter((href) => !/^https?:\/\//.test(href))).toEqual([]);
      JSON.stringify(tree);
    }
  });
});
