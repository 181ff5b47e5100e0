import { type DestinationStream, pino } from 'pino';

/** Structured log: one JSON line per entry, times in RFC 3339, secrets removed wherever they stand. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(fields: object): Log;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

const SECRETS = ['password', 'token', 'accessToken', 'refreshToken', 'authorization', 'cookie', 'secretKey'];

/** Logs to standard error, so that standard output stays for people; `destination` is for tests and files. */
export function createLog(service: string, level: LogLevel = 'info', destination?: DestinationStream): Log {
  return pino(
    {
      level,
      base: { service },
      timestamp: () => `,"at":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), remove: true },
    },
    destination ?? pino.destination({ fd: 2, sync: true }),
  );
}

/** For tests. */
export const silentLog: Log = createLog('test', 'silent');
