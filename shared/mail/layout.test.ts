import { expect, test } from 'bun:test';
import { oneLine, renderMail } from './layout.ts';

test('what people write can not become markup', () => {
  const { html, text } = renderMail({
    title: 'Hello <b>Ada</b>',
    paragraphs: ['<script>alert("1")</script>', 'two\nlines'],
    button: { label: 'Open "it"', url: 'https://school.example/a?b=1&c="><img src=x>' },
    footer: "It's <i>you</i>",
  });
  expect(html).not.toMatch(/<script|<b>|<img|<i>/);
  expect(html).toContain('&lt;script&gt;');
  expect(html).toContain('two<br>lines');
  expect(text).toContain('<script>alert("1")</script>');
});

test('the text form has everything the HTML form has', () => {
  const { text } = renderMail({
    title: 'Title',
    paragraphs: ['One.', 'Two.'],
    button: { label: 'Read', url: 'http://127.0.0.1:8080/#/x' },
    footer: 'Because.',
  });
  expect(text).toBe('Title\n\nOne.\n\nTwo.\n\nRead:\nhttp://127.0.0.1:8080/#/x\n\n-- \nBecause.\n');
});

test('a button leads to http(s) only', () => {
  const mail = { title: 'T', paragraphs: [], button: { label: 'x', url: 'javascript:alert(1)' } };
  expect(() => renderMail(mail)).toThrow(TypeError);
});

test('a subject stays one line of bounded length', () => {
  expect(oneLine('a\r\nBcc: all@example.org\u2028b')).toBe('a Bcc: all@example.org b');
  expect([...oneLine('🙂'.repeat(500))]).toHaveLength(150);
});
