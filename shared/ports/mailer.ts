/** Hands one e-mail to a mail server. */
export interface Mailer {
  /** Resolves when the server has accepted the mail. Said again with the same `idempotencyKey`, it carries the same Message-ID. */
  send(mail: Mail): Promise<void>;
  ready(): Promise<void>;
  close(): Promise<void>;
}

export interface Mail {
  /** Becomes the local part of the Message-ID: the receiver's way to know a repeat. */
  idempotencyKey: string;
  to: string;
  subject: string;
  text: string;
  html: string;
}
