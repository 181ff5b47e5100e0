import { afterAll, beforeAll, expect, test } from 'bun:test';
import { crc32, createDeflate, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import type { TestUser } from '../../../shared/testing/service.ts';
import { type ContentWorld, startContent } from '../testing.ts';

let world: ContentWorld;
let teacher: TestUser;

beforeAll(async () => {
  world = await startContent();
  teacher = await world.signIn({ role: 'teacher', name: 'Ada' });
});
afterAll(() => world.stop());

async function process(name: string, bytes: Uint8Array | string) {
  const { body } = await world.upload(teacher, `name=${name}`, bytes);
  return await world.settled(teacher, body.id);
}

const photo = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: '#a06030' } }).jpeg();

/** A PNG whose 1-bit pixels are all zero: small on the wire, huge when unpacked. */
function bombPng(side: number): Uint8Array {
  const chunk = (type: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.byteLength);
    const crc = Buffer.alloc(4);
    crc.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, crc]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(side, 0);
  head.writeUInt32BE(side, 4);
  head[8] = 1;
  const rows = deflateSync(Buffer.alloc((1 + side / 8) * side), { level: 9 });
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
  return new Uint8Array(
    Buffer.concat([signature, chunk('IHDR', head), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))]),
  );
}

/** A page whose text unpacks to `megabytes`. */
async function bombPdf(megabytes: number): Promise<Uint8Array> {
  const deflate = createDeflate({ level: 1 });
  const packed: Buffer[] = [];
  deflate.on('data', (chunk: Buffer) => packed.push(chunk));
  const ended = new Promise((resolve) => deflate.once('end', resolve));
  const chunk = Buffer.alloc(1024 * 1024, 'BT /F1 9 Tf (aaaaaaaaaaaaaaaa) Tj ET ');
  for (let n = 0; n < megabytes; n++) {
    if (!deflate.write(chunk)) await new Promise((resolve) => deflate.once('drain', resolve));
  }
  deflate.end();
  await ended;
  return new Uint8Array(
    Buffer.from(pdfOf(Buffer.concat(packed).toString('latin1'), '/Filter /FlateDecode'), 'latin1'),
  );
}

const pdf = (text: string): string => pdfOf(`BT /F1 24 Tf 72 700 Td (${text}) Tj ET`);

function pdfOf(content: string, filter = ''): string {
  const objects = [
    '<< /Type /Catalog /Pages 2 0 R >>',
    '<< /Type /Pages /Kids [3 0 R] /Count 1 >>',
    '<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>',
    `<< /Length ${content.length} ${filter} >>\nstream\n${content}\nendstream`,
    '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>',
  ];
  let file = '%PDF-1.4\n';
  const offsets = objects.map((object, index) => {
    const offset = file.length;
    file += `${index + 1} 0 obj\n${object}\nendobj\n`;
    return offset;
  });
  const start = file.length;
  file += `xref\n0 6\n0000000000 65535 f \n${offsets.map((offset) => `${String(offset).padStart(10, '0')} 00000 n \n`).join('')}`;
  return `${file}trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n${start}\n%%EOF\n`;
}

test('a photograph gets three thumbnails, upright and without its metadata', async () => {
  const bytes = await photo(1600, 800)
    .withMetadata({ orientation: 6, exif: { IFD0: { Copyright: 'Secret place' } } })
    .toBuffer();
  const file = await process('photo.jpg', new Uint8Array(bytes));
  expect(file).toMatchObject({ status: 'ready', type: 'image/jpeg', rejectedReason: null });
  const sizes: Record<string, [number, number]> = {
    small: [80, 160],
    medium: [240, 480],
    large: [600, 1200],
  };
  for (const [size, [width, height]] of Object.entries(sizes)) {
    const reply = await fetch(world.url + file.thumbnails[size], { headers: teacher.headers });
    expect(reply.headers.get('content-type')).toBe('image/webp');
    const meta = await sharp(await reply.arrayBuffer()).metadata();
    expect(meta).toMatchObject({ format: 'webp', width, height });
    expect(meta.exif).toBeUndefined();
  }
  const stranger = await world.signIn();
  expect((await world.call('GET', file.thumbnails.small, { as: stranger })).body.code).toBe('not-found');
  expect((await world.published('file.processed')).map((event) => event.subject)).toContain(file.id);
});

test('a bomb, a broken photograph and a broken PDF are rejected with a reason, and the next file is fine', async () => {
  const bomb = bombPng(20_000);
  expect(bomb.byteLength).toBeLessThan(200_000);
  const [bombed, broken, pdfed] = await Promise.all([
    process('bomb.png', bomb),
    photo(800, 600)
      .toBuffer()
      .then((bytes) => process('broken.jpg', new Uint8Array(bytes.subarray(0, bytes.length / 2)))),
    process('broken.pdf', '%PDF-1.7\nthis is none'),
  ]);
  expect(bombed).toMatchObject({
    status: 'rejected',
    rejectedReason: 'The picture has more than 50 megapixels.',
    thumbnails: null,
  });
  expect(broken).toMatchObject({ status: 'rejected', rejectedReason: 'The picture is broken.' });
  expect(pdfed).toMatchObject({ status: 'rejected', rejectedReason: 'The PDF is broken.' });
  const reasons = (await world.published('file.rejected')).map(
    (event) => (event.data as { reason: string }).reason,
  );
  expect(reasons.length).toBe(3);
  const fine = await process('fine.png', new Uint8Array(await photo(20, 10).png().toBuffer()));
  expect(fine.status).toBe('ready');
});

test('a PDF that needs more memory than it may have takes down nothing but its reader', async () => {
  const bomb = await bombPdf(900);
  expect(bomb.byteLength).toBeLessThan(16 * 1024 * 1024);
  const file = await process('bomb.pdf', bomb);
  expect(file.status).toBe('rejected');
  expect(file.rejectedReason).toMatch(/^Opening the file (needs too much memory|took too long|failed)\.$/);
  expect((await process('fine.pdf', pdf('Fine'))).status).toBe('ready');
});

test('the words of PDFs and texts are found', async () => {
  const course = (await world.course(teacher)).id;
  const upload = async (name: string, bytes: string) => {
    const { body } = await world.upload(teacher, `name=${name}&courseId=${course}&visibility=course`, bytes);
    return (await world.settled(teacher, body.id)).id;
  };
  const paper = await upload('paper.pdf', pdf('The zeppelin bend joins two ropes'));
  const notes = await upload('notes.md', '# Whipping\n\nKeeps an end from fraying.');
  const find = async (q: string) =>
    (
      await world.call('GET', `/api/content/files?courseId=${course}&q=${encodeURIComponent(q)}`, {
        as: teacher,
      })
    ).body.items.map((item: { id: string }) => item.id);
  expect(await find('zeppelin ropes')).toEqual([paper]);
  expect(await find('FRAYING')).toEqual([notes]);
  expect(await find('PAPER')).toEqual([paper]);
  expect(await find("nothing ' & | ! :*")).toEqual([]);
});

test('an event that comes again changes nothing', async () => {
  const file = await process('once.txt', 'once');
  const events = (await world.published('file.uploaded')).filter((event) => event.subject === file.id);
  await world.emit('file.uploaded', events[0]!.data as never, { id: events[0]!.id });
  await world.emit('file.uploaded', events[0]!.data as never);
  expect((await world.published('file.processed')).filter((event) => event.subject === file.id).length).toBe(
    1,
  );
});
