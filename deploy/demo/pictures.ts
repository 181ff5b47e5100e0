import { deflateSync } from 'node:zlib';

/** A small PNG of a night sky over hills, drawn pixel by pixel, so that the repository needs no binary file. */
export function nightSky(width = 640, height = 400): Uint8Array {
  const stars = Array.from({ length: 140 }, (_, index) => ({
    x: Math.floor(((index * 7919) % 1000) * (width / 1000)),
    y: Math.floor(((index * 104_729) % 1000) * ((height * 0.62) / 1000)),
    light: 150 + ((index * 31) % 105),
  }));
  const pixels = Buffer.alloc((width * 3 + 1) * height);
  const set = (x: number, y: number, rgb: [number, number, number]) => {
    const at = y * (width * 3 + 1) + 1 + x * 3;
    pixels.set(rgb, at);
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const hill = height * (0.74 + 0.06 * Math.sin(x / 70) + 0.04 * Math.sin(x / 23 + 2));
      const near = height * (0.86 + 0.05 * Math.sin(x / 110 + 1));
      const glow = y / height;
      if (y > near) set(x, y, [12, 18, 26]);
      else if (y > hill) set(x, y, [24, 34, 52]);
      else set(x, y, [10 + 46 * glow, 16 + 40 * glow, 48 + 74 * glow]);
    }
  }
  for (const star of stars) set(star.x, star.y, [star.light, star.light, star.light]);
  const moon = { x: width * 0.78, y: height * 0.24, radius: height * 0.075 };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (Math.hypot(x - moon.x, y - moon.y) < moon.radius) set(x, y, [238, 232, 205]);
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8); // 8 bits, RGB
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(pixels)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** Length, type, data and CRC (PNG specification, 5.3). */
function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  out.set(body, 4);
  out.writeUInt32BE(crc32(body), body.length + 4);
  return out;
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
