export type PictureType = 'image/jpeg' | 'image/png' | 'image/webp' | 'image/gif' | 'image/avif';

/** The type of a picture by its first bytes, or undefined for anything that is not one of these five. */
export function pictureType(bytes: Uint8Array): PictureType | undefined {
  const head = String.fromCharCode(...bytes.subarray(0, 64));
  if (head.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
  if (head.startsWith('GIF87a') || head.startsWith('GIF89a')) return 'image/gif';
  if (head.startsWith('RIFF') && head.startsWith('WEBP', 8)) return 'image/webp';
  // ISO 14496-12, 4.3: the brands of the `ftyp` box that begins the file
  if (head.startsWith('ftyp', 4)) {
    const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    const brands = head.slice(8, Math.min(size, 64));
    if (brands.includes('avif') || brands.includes('avis')) return 'image/avif';
  }
  return undefined;
}
