import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';

/** One delivered mail, as `GET /dev/mail.json` shows it. Addresses are plain, several are joined by ", ". */
export interface CaughtMail {
  from: string;
  to: string;
  subject: string;
  text: string;
  html: string;
  /** Time of delivery, RFC 3339 in UTC. */
  at: string;
}

/** A mail as kept on disk: with its name (which orders it) and the key that recognises a second delivery. */
export interface StoredMail extends CaughtMail {
  id: string;
  messageId: string;
}

export interface MailStore {
  /**
   * Keeps a mail for those recipients that have not had this Message-ID before, as a real receiver would.
   * When it resolves the mail survives `kill -9`: the file is synced before it gets its name, and the folder after.
   */
  deliver(mail: Omit<CaughtMail, 'at' | 'to'> & { recipients: string[]; messageId: string }): Promise<void>;
  /** Newest first; `to` keeps the mails that this address received, in any letter case. */
  list(filter: { to?: string }): StoredMail[];
  get(id: string): StoredMail | undefined;
}

const FINISHED = /^\d{14}-[0-9a-f]{16}\.json$/;

/**
 * Opens the folder of a mail catcher and reads what it holds.
 * @param keep how many of the newest mails stay; older files are removed as new ones come.
 */
export async function openMailStore(dir: string, keep = 2000): Promise<MailStore> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const mails = new Map<string, StoredMail>(); // oldest first
  const delivered = new Map<string, Promise<void>>(); // recipient and Message-ID → its write
  let last = 0;

  for (const name of (await readdir(dir)).sort()) {
    if (!FINISHED.test(name)) {
      if (name.endsWith('.part')) await unlink(join(dir, name)).catch(() => {}); // never acknowledged
      continue;
    }
    const mail = JSON.parse(await readFile(join(dir, name), 'utf8')) as StoredMail;
    mails.set(mail.id, mail);
    last = Number(mail.id.slice(0, 14));
    for (const recipient of mail.to.split(', '))
      delivered.set(key(recipient, mail.messageId), Promise.resolve());
  }
  await removeOldest();

  async function removeOldest(): Promise<void> {
    for (const [id, mail] of mails) {
      if (mails.size <= keep) return;
      mails.delete(id);
      for (const recipient of mail.to.split(', ')) delivered.delete(key(recipient, mail.messageId));
      await unlink(join(dir, `${id}.json`)).catch(() => {});
    }
  }

  async function write(mail: StoredMail): Promise<void> {
    await writeDurably(dir, `${mail.id}.json`, JSON.stringify(mail));
    mails.set(mail.id, mail);
    await removeOldest();
  }

  return {
    async deliver({ recipients, ...mail }) {
      const messageId = mail.messageId || randomUUID(); // without one there is nothing to recognise it by
      const earlier: Promise<void>[] = [];
      const fresh: string[] = [];
      for (const recipient of new Set(recipients)) {
        const write = delivered.get(key(recipient, messageId));
        if (write) earlier.push(write);
        else fresh.push(recipient);
      }
      if (fresh.length > 0) {
        const now = Date.now();
        last = Math.max(last + 1, now * 10); // two mails in one millisecond still have an order
        const digest = createHash('sha256')
          .update(`${messageId} ${fresh.join(' ')}`)
          .digest('hex')
          .slice(0, 16);
        const id = `${String(last).padStart(14, '0')}-${digest}`;
        const written = write({
          ...mail,
          messageId,
          id,
          to: fresh.join(', '),
          at: new Date(now).toISOString(),
        });
        for (const recipient of fresh) delivered.set(key(recipient, messageId), written);
        try {
          await written;
        } catch (error) {
          for (const recipient of fresh) delivered.delete(key(recipient, messageId));
          throw error;
        }
      }
      // A copy that overtakes the first delivery may be acknowledged only once that one is on disk.
      await Promise.all(earlier);
    },

    list({ to }) {
      const wanted = to?.trim().toLowerCase();
      const found = [...mails.values()].filter(
        (mail) => !wanted || mail.to.toLowerCase().split(', ').includes(wanted),
      );
      return found.sort((a, b) => (a.id < b.id ? 1 : -1));
    },

    get: (id) => mails.get(id),
  };
}

function key(recipient: string, messageId: string): string {
  return `${recipient.toLowerCase()} ${messageId}`;
}

async function writeDurably(dir: string, name: string, content: string): Promise<void> {
  const part = join(dir, `${name}.part`);
  const file = await open(part, 'w', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(part, join(dir, name));
  const folder = await open(dir, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
