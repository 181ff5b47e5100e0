import { createHmac, timingSafeEqual } from 'node:crypto';
import type { FileLink } from '../../../shared/contracts/content.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import type { Context } from '../../../shared/http/context.ts';
import { type FileRow, findFile } from '../store/files.ts';
import type { ContentTables } from '../store/tables.ts';
import { managedFile } from './file-access.ts';
import { filePath } from './representations.ts';

/** Makes a link that opens the file's bytes without a token for `expiresIn` seconds. For those who manage the file. */
export async function linkFile(
  context: Context<ContentTables>,
  input: { fileId: string; expiresIn: number; publicUrl: string; key: string },
): Promise<FileLink> {
  const file = await managedFile(context, input.fileId);
  const expires = Math.floor(Date.now() / 1000) + input.expiresIn;
  const signature = sign(input.key, file.id, String(expires));
  return {
    url: `${input.publicUrl}${filePath(file.id)}/content?expires=${expires}&signature=${signature}`,
    expiresAt: new Date(expires * 1000).toISOString(),
  };
}

/** The file that a link opens. Throws `forbidden` once it has expired, or if it is not one we made. */
export async function linkedFile(
  context: Context<ContentTables>,
  input: { fileId: string; expires: string | undefined; signature: string | undefined; key: string },
): Promise<FileRow> {
  const { fileId, expires = '', signature = '', key } = input;
  const expected = Buffer.from(sign(key, fileId, expires));
  const given = Buffer.from(signature);
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new Problem('forbidden', 'The link is not valid.');
  }
  if (Number(expires) * 1000 <= Date.now()) throw new Problem('forbidden', 'The link has expired.');
  const file = await findFile(context.db, fileId);
  if (!file || file.status === 'rejected') throw notFound('file');
  return file;
}

const sign = (key: string, fileId: string, expires: string): string =>
  createHmac('sha256', key).update(`${fileId}\n${expires}`).digest('base64url');
