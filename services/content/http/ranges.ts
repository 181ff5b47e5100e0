/** Byte ranges (RFC 9110, 14). */

export interface ByteRange {
  start: number;
  /** Inclusive. */
  end: number;
}

const MAX_RANGES = 16;

/**
 * What a Range header asks of `size` bytes: `whole` if it is absent or makes no sense (then it is ignored),
 * `unsatisfiable` if none of it is there, or if it asks for so many or such overlapping ranges that answering
 * would be a way to wear us out (14.2, 15.5.17).
 */
export function parseRange(header: string | null, size: number): ByteRange[] | 'whole' | 'unsatisfiable' {
  const match = header === null ? null : /^bytes=(.*)$/i.exec(header.trim());
  if (!match) return 'whole';
  const specs = match[1]!
    .split(',')
    .map((spec) => spec.trim())
    .filter(Boolean);
  const ranges: ByteRange[] = [];
  for (const spec of specs) {
    const parts = /^(\d*)-(\d*)$/.exec(spec);
    if (!parts || (parts[1] === '' && parts[2] === '')) return 'whole';
    const [first, last] = [parts[1]!, parts[2]!];
    if (first === '') {
      const length = Math.min(Number(last), size);
      if (length > 0) ranges.push({ start: size - length, end: size - 1 });
      continue;
    }
    const start = Number(first);
    const end = last === '' ? size - 1 : Number(last);
    if (last !== '' && end < start) return 'whole';
    if (start < size) ranges.push({ start, end: Math.min(end, size - 1) });
  }
  if (specs.length === 0) return 'whole';
  if (ranges.length === 0 || specs.length > MAX_RANGES || overlaps(ranges) > 2) return 'unsatisfiable';
  return ranges;
}

function overlaps(ranges: ByteRange[]): number {
  const sorted = [...ranges].sort((a, b) => a.start - b.start);
  let reached = -1;
  let count = 0;
  for (const range of sorted) {
    if (range.start <= reached) count++;
    reached = Math.max(reached, range.end);
  }
  return count;
}
