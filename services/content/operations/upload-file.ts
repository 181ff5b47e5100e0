import { createHash } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { File, Visibility } from '../../../shared/contracts/content.ts';
import { idempotently } from '../../../shared/db/idempotency.ts';
import type { KernelTables } from '../../../shared/db/kernel.ts';
import { Problem, unavailable } from '../../../shared/errors.ts';
import type { Context } from '../../../shared/http/context.ts';
import { newId } from '../../../shared/ids.ts';
import type { ObjectStore } from '../../../shared/ports/object-store.ts';
import { type Measured, measure } from '../processing/measure.ts';
import { doomNow, forgetDoomed } from '../store/doomed-objects.ts';
import { findFile, insertFile } from '../store/files.ts';
import type { ContentTables } from '../store/tables.ts';
import { deleteUpload, insertUpload, touchUpload } from '../store/uploads.ts';
import { managedCourse } from './course-access.ts';
import { removeSoon } from './discard-objects.ts';
import { fileFacts, toFile } from './representations.ts';

export interface Upload {
  /** The name to keep; known at the latest when the first bytes are there. */
  name: () => string | undefined;
  courseId: string | undefined;
  visibility: Visibility;
  /** The bytes of the file. Errors with a Problem if the request is malformed or cut. */
  bytes: ReadableStream<Uint8Array>;
  /** Throws unless all of the content arrived and is what its Content-Digest says; asked at the end. */
  verify: (sha256: Uint8Array) => void;
  idempotencyKey: string | undefined;
  signal: AbortSignal;
}

const HEARTBEAT_MS = 20_000;

/**
 * Streams a file to the object store with its size, type and SHA-256 taken on the way; `file.uploaded` follows.
 * All or nothing: a row is written before the first byte and goes in the transaction that makes the file, so that
 * whatever ends the upload before that (client, process, server) leaves something the sweep finds.
 */
export async function uploadFile(
  context: Context<ContentTables>,
  objects: ObjectStore,
  upload: Upload,
): Promise<{ status: number; body: unknown }> {
  await authorise(context, upload);
  const { userId } = context.caller;
  const id = newId();
  const key = `files/${id.slice(-2)}/${id}`;
  await insertUpload(context.db, { id, objectKey: key, ownerId: userId });
  const heartbeat = setInterval(() => void touchUpload(context.db, id).catch(() => {}), HEARTBEAT_MS);
  try {
    const { stream, result } = measure(upload.bytes, () => upload.name() ?? '');
    await objects.put(key, stream, { signal: upload.signal }).catch((error: unknown) => {
      throw result.failure ?? (upload.signal.aborted ? cut(error) : error);
    });
    if (upload.signal.aborted) throw cut(upload.signal.reason);
    upload.verify(result.sha256());
    if (result.size === 0) throw new Problem('validation-failed', 'The file is empty.');
    return await keep(context, objects, { id, key, upload, measured: result });
  } catch (error) {
    await giveUp(context, objects, id, key);
    throw error;
  } finally {
    clearInterval(heartbeat);
  }
}

/** A file for a course is its teacher's to add; learners keep private files only. */
async function authorise(context: Context<ContentTables>, { courseId, visibility }: Upload): Promise<void> {
  const { caller } = context;
  if (courseId !== undefined) await managedCourse(context, courseId);
  else if (visibility === 'course') {
    throw new Problem('validation-failed', 'A file with the visibility "course" needs a courseId.');
  } else if (visibility === 'public' && caller.role === 'learner') {
    throw new Problem('forbidden', 'Only teachers may make files public.');
  }
}

/** The last step: one transaction makes the file of the upload, unless its idempotency key had its reply before. */
async function keep(
  context: Context<ContentTables>,
  objects: ObjectStore,
  { id, key, upload, measured }: { id: string; key: string; upload: Upload; measured: Measured },
): Promise<{ status: number; body: unknown }> {
  const { userId } = context.caller;
  const name = upload.name();
  if (name === undefined) throw new Problem('validation-failed', 'The file needs a name.');
  const sha256 = Buffer.from(measured.sha256()).toString('hex');
  return await context.transaction(async (tx) => {
    // Gone if this upload could not say for minutes that it lives: the sweep removes its object.
    if (!(await deleteUpload(tx.db, id))) throw unavailable('The upload', new Error('swept while under way'));
    const insert = async (): Promise<{ status: number; body: File }> => {
      if (upload.courseId !== undefined) await managedCourse(tx, upload.courseId, 'share');
      await insertFile(tx.db, {
        id,
        name,
        size: measured.size,
        type: await measured.type(),
        sha256,
        status: 'processing',
        rejected_reason: null,
        visibility: upload.visibility,
        course_id: upload.courseId ?? null,
        owner_id: userId,
        object_key: key,
        created_at: new Date(),
      });
      const file = (await findFile(tx.db, id))!;
      await tx.publish('file.uploaded', id, fileFacts(file));
      return { status: 201, body: toFile(file) };
    };
    if (upload.idempotencyKey === undefined) return await insert();
    let repeat = true;
    const bodyHash = createHash('sha256')
      .update(JSON.stringify([sha256, name, upload.courseId ?? null, upload.visibility]))
      .digest('hex');
    const reply = await idempotently(
      tx.db as unknown as Kysely<KernelTables>,
      { scope: `${userId} post /api/content/files`, key: upload.idempotencyKey, bodyHash },
      () => {
        repeat = false;
        return insert();
      },
    );
    if (repeat) {
      await doomNow(tx.db, [key]);
      tx.afterCommit(() => removeSoon(context, objects));
    }
    return reply;
  });
}

/**
 * Takes an upload back. Only while its row is there: if the row is gone, the last transaction did commit although
 * its answer was lost, and the object is the file's.
 */
async function giveUp(
  context: Context<ContentTables>,
  objects: ObjectStore,
  id: string,
  key: string,
): Promise<void> {
  try {
    const mine = await context.transaction(async (tx) => {
      if (!(await deleteUpload(tx.db, id))) return (await findFile(tx.db, id)) === undefined;
      await doomNow(tx.db, [key]);
      return true;
    });
    if (!mine) return;
    await objects.delete(key);
    await forgetDoomed(context.db, key);
  } catch (error) {
    context.log.warn(
      { uploadId: id, reason: String(error) },
      'upload not cleared up yet; the sweep will do it',
    );
  }
}

const cut = (cause: unknown): Problem =>
  new Problem('validation-failed', 'The body did not arrive whole.', { cause });
