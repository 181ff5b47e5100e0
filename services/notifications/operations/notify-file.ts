import type { EventData } from '../../../shared/contracts/events.ts';
import type { NotificationsContext, NotificationsTools } from '../context.ts';
import { fileProcessed, fileRejected } from '../templates/file.ts';
import { notify } from './notify.ts';

/** Tells the owner that a file is ready. */
export const notifyFileProcessed = (
  tx: NotificationsContext,
  tools: NotificationsTools,
  data: EventData<'file.processed'>,
): Promise<void> => notify(tx, tools, 'file-processed', [data.ownerId], fileProcessed(data));

/** Tells the owner that a file was rejected, and why. */
export const notifyFileRejected = (
  tx: NotificationsContext,
  tools: NotificationsTools,
  data: EventData<'file.rejected'>,
): Promise<void> => notify(tx, tools, 'file-rejected', [data.ownerId], fileRejected(data));
