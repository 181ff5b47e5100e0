import { describe, expect, test } from 'bun:test';
import { seededRandom } from '../../shared/seeded-random.ts';
import { type RequestVector, type ResponseVector, requestVectors, responseVectors } from './corpus.ts';
import {
  checkReply,
  checkRequests,
  type ReplyReading,
  type RequestReading,
  readReply,
  readRequests,
  seenReply,
  seenRequest,
} from './fuzz.ts';

const requestOutcome = ({ refused, waits, requests }: RequestReading): RequestVector['outcome'] =>
  refused
    ? ({ refused: refused.status, by: refused.by } as RequestVector['outcome'])
    : waits
      ? { waits: true }
      : { requests: requests.map(seenRequest) };

const replyOutcome = ({ refused, waits, replies }: ReplyReading): ResponseVector['outcome'] =>
  refused ? { refused: true } : waits ? { waits: true } : { replies: replies.map(seenReply) };

const byteByByte = (bytes: Buffer): Buffer[] =>
  Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));

describe('requests', () => {
  for (const { name, raw, outcome } of requestVectors()) {
    test(name, () => {
      const bytes = Buffer.from(raw, 'latin1');
      const whole = readRequests([bytes]);
      expect(requestOutcome(whole)).toEqual(outcome);
      // Nothing is answered before the refusal but what is in front of it: no vector has a good request there.
      if (whole.refused) expect(whole.requests).toEqual([]);
      if (bytes.length < 3_000) expect(readRequests(byteByByte(bytes))).toEqual(whole);
      checkRequests(bytes, seededRandom(1));
    });
  }
  test('lines for a gateway stand in every head that may have them', () => {
    const plain = requestVectors();
    for (const [index, { name, raw, outcome }] of requestVectors('X-Token: a\r\n').entries()) {
      expect(requestOutcome(readRequests([Buffer.from(raw, 'latin1')]))).toEqual(outcome);
      if ('requests' in outcome) expect(raw).toContain('X-Token: a\r\n');
      expect(name).toBe(plain[index]!.name);
    }
  });
});

describe('replies', () => {
  for (const { name, raw, method = 'GET', closed = false, outcome } of responseVectors()) {
    test(name, () => {
      const bytes = Buffer.from(raw, 'latin1');
      const whole = readReply([bytes], method, closed);
      expect(replyOutcome(whole)).toEqual(outcome);
      if (bytes.length < 3_000) expect(readReply(byteByByte(bytes), method, closed)).toEqual(whole);
      checkReply(bytes, method, closed, seededRandom(1));
    });
  }
});

test('no two vectors have the same name', () => {
  for (const vectors of [requestVectors(), responseVectors()]) {
    const names = vectors.map(({ name }) => name);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  }
});
