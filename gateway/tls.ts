import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Log } from '../shared/observability/log.ts';
import type { TlsFiles } from '../shared/runtime/tcp.ts';

/** Whoever renews a certificate puts other files in their place; they are looked at so often, in milliseconds. */
export const CERTIFICATE_CHECK_MS = 30_000;

/** Reads certificate chain and key. Throws an Error that says which file is of no use and why. */
export function readTlsFiles({ certFile, keyFile }: { certFile: string; keyFile: string }): TlsFiles {
  const cert = read('TLS_CERT_FILE', certFile);
  const key = read('TLS_KEY_FILE', keyFile);
  const certificate = attempt('TLS_CERT_FILE', () => new X509Certificate(cert));
  const privateKey = attempt('TLS_KEY_FILE', () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey))
    throw new Error('TLS_KEY_FILE: is not the key of the certificate in TLS_CERT_FILE');
  if (Date.parse(certificate.validTo) < Date.now())
    throw new Error(`TLS_CERT_FILE: has expired on ${certificate.validTo}`);
  return { cert, key };
}

const read = (name: string, file: string): string => attempt(name, () => readFileSync(file, 'utf8'));

function attempt<T>(name: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

export const sameTls = (a: TlsFiles, b: TlsFiles): boolean => a.cert === b.cert && a.key === b.key;

/** Hands over new files when they have changed and fit together: between two writes they may not. Returns how to stop. */
export function watchTlsFiles(
  files: () => { certFile: string; keyFile: string } | undefined,
  current: () => TlsFiles | undefined,
  use: (tls: TlsFiles) => void,
  log: Log,
): () => void {
  let complained = '';
  const timer = setInterval(() => {
    const where = files();
    const before = current();
    if (!where || !before) return;
    try {
      const now = readTlsFiles(where);
      if (!sameTls(now, before)) use(now);
      complained = '';
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== complained) log.warn({ reason }, 'the new certificate is not used');
      complained = reason;
    }
  }, CERTIFICATE_CHECK_MS);
  timer.unref?.();
  return () => clearInterval(timer);
}
