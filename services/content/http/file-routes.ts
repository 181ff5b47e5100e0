import { anyoneOrCaller, signedIn } from '../../../shared/auth/access.ts';
import { page } from '../../../shared/contracts/common.ts';
import {
  ContentQuery,
  CreateLink,
  File,
  FileLink,
  FileListQuery,
  FileParams,
  ThumbnailParams,
  UploadQuery,
} from '../../../shared/contracts/content.ts';
import { Problem } from '../../../shared/errors.ts';
import { requireMatch } from '../../../shared/http/etag.ts';
import { type Route, reply, routeFor } from '../../../shared/http/route.ts';
import type { ObjectStore } from '../../../shared/ports/object-store.ts';
import { linkFile } from '../operations/link-file.ts';
import { findFiles, readFile, removeFile } from '../operations/manage-files.ts';
import { openFile, openThumbnail } from '../operations/open-file.ts';
import { uploadFile } from '../operations/upload-file.ts';
import type { ContentTables } from '../store/tables.ts';
import { sendBytes } from './send-bytes.ts';
import { openUpload } from './upload-body.ts';

export interface FileTools {
  objects: ObjectStore;
  publicUrl: string;
  /** Signs links; known once the service has started. */
  linkKey: () => string;
}

const route = routeFor<ContentTables>();
const file = { description: 'The file', schema: File };
/** The matrix is walked with a file of the course that is for those enrolled. */
const readers = { learnerNotEnrolled: 'not-found', otherTeacher: 'not-found' } as const;
const managers = { ...readers, learnerEnrolled: 'forbidden' } as const;
const bytes = {
  200: { description: 'The bytes', content: 'application/octet-stream' },
  206: { description: 'One range, or several as multipart/byteranges', content: 'application/octet-stream' },
  304: { description: 'The caller has them' },
};

export const fileRoutes = ({ objects, publicUrl, linkKey }: FileTools): Route<ContentTables>[] => [
  route(
    {
      method: 'post',
      path: '/files',
      summary: 'Upload a file',
      access: signedIn(),
      query: UploadQuery,
      rawBody: {
        description:
          'The body is the file, or a form with the file in its only field, `file`. A Content-Digest (RFC 9530) with sha-256 is checked. Idempotency-Key is honoured.',
        contentTypes: ['application/octet-stream', 'multipart/form-data'],
      },
      replies: { 201: file },
    },
    async (context, { query, request }) => {
      const body = openUpload(request);
      const isForm = /^multipart\/form-data\b/i.test(request.headers.get('content-type') ?? '');
      if (query.name === undefined && !isForm) {
        throw new Problem('validation-failed', 'The query is not valid.', {
          errors: [{ path: 'query.name', message: 'required' }],
        });
      }
      const kept = await uploadFile(context, objects, {
        ...body,
        name: () => query.name ?? body.name(),
        courseId: query.courseId,
        visibility: query.visibility,
        idempotencyKey: idempotencyKey(request),
        signal: request.signal,
      });
      return reply(kept.status, kept.body);
    },
  ),
  route(
    {
      method: 'get',
      path: '/files',
      summary: 'Files of a course, or of the caller',
      description: '`q` is looked for in names and in the text of PDFs, Markdown and plain text.',
      access: signedIn(),
      query: FileListQuery,
      replies: { 200: { description: 'Newest first', schema: page(File) } },
    },
    async (context, { query }) => reply(200, await findFiles(context, query)),
  ),
  route(
    {
      method: 'get',
      path: '/files/{fileId}',
      summary: 'What a file is',
      access: signedIn(readers),
      params: FileParams,
      replies: { 200: file },
      etag: true,
    },
    async (context, { params }) => reply(200, await readFile(context, params.fileId)),
  ),
  route(
    {
      method: 'delete',
      path: '/files/{fileId}',
      summary: 'Remove a file, from lessons as well',
      access: signedIn(managers),
      params: FileParams,
      replies: { 204: { description: 'Gone' } },
    },
    async (context, { params, request }) => {
      const check = (current: File) => requireMatch(request, File.parse(current));
      await removeFile(context, objects, { fileId: params.fileId, check });
      return reply(204);
    },
  ),
  route(
    {
      method: 'get',
      path: '/files/{fileId}/content',
      summary: 'The bytes of a file',
      description:
        'Ranges, preconditions and HEAD as in RFC 9110. `expires` and `signature` come with a link.',
      access: anyoneOrCaller({ ...readers, anonymous: 'not-found' }),
      params: FileParams,
      query: ContentQuery,
      replies: bytes,
    },
    async (context, { params, query, request }) => {
      const opened = await openFile(context, { ...query, fileId: params.fileId, linkKey: linkKey() });
      const download = query.download === '1' || query.download === 'true';
      return await sendBytes(request, objects, opened, { download });
    },
  ),
  route(
    {
      method: 'get',
      path: '/files/{fileId}/thumbnails/{size}',
      summary: 'A small picture of a picture',
      access: signedIn(readers),
      params: ThumbnailParams,
      replies: bytes,
    },
    async (context, { params, request }) =>
      await sendBytes(request, objects, await openThumbnail(context, params), { download: false }),
  ),
  route(
    {
      method: 'post',
      path: '/files/{fileId}/links',
      summary: 'Make a link that works without a token for a while',
      access: signedIn(managers),
      params: FileParams,
      body: CreateLink,
      replies: { 201: { description: 'The link', schema: FileLink } },
      idempotent: true,
    },
    async (context, { params, body }) =>
      reply(201, await linkFile(context, { ...params, ...body, publicUrl, key: linkKey() })),
  ),
];

function idempotencyKey(request: Request): string | undefined {
  const key = request.headers.get('idempotency-key') ?? undefined;
  if (key !== undefined && !/^[\x21-\x7e]{1,200}$/.test(key)) {
    throw new Problem('validation-failed', 'Idempotency-Key must be 1 to 200 visible ASCII characters.');
  }
  return key;
}
