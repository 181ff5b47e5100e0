import { startMailCatcher } from './mail-catcher.ts';

/** The mail catcher as a process of its own: SMTP_PORT, HTTP_PORT, MAIL_DIR. SIGTERM and Ctrl-C end it. */
const { SMTP_PORT, HTTP_PORT, MAIL_DIR } = process.env;
if (!SMTP_PORT || !HTTP_PORT || !MAIL_DIR) throw new Error('Set SMTP_PORT, HTTP_PORT and MAIL_DIR.');

const catcher = await startMailCatcher({
  smtpPort: Number(SMTP_PORT),
  httpPort: Number(HTTP_PORT),
  dir: MAIL_DIR,
});
console.log(`ready ${catcher.smtpUrl} ${catcher.httpUrl}/dev/mail`);

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => catcher.stop().then(() => process.exit(0)));
}
