import type { EventData } from '../../../shared/contracts/events.ts';
import type { NotificationsContext, NotificationsTools } from '../context.ts';
import { invitation } from '../templates/invitation.ts';
import { notify } from './notify.ts';

/** Tells whoever is asked into a group. */
export const notifyInvitation = (
  tx: NotificationsContext,
  tools: NotificationsTools,
  data: EventData<'room.invited'>,
): Promise<void> => notify(tx, tools, 'invitation', [data.userId], invitation(data));
