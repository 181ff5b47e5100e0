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

/** Lines for a log that is written too often for a system call each: they go out together, a moment later. */
export interface LineLog {
  /** False: nobody reads this level; don't make the line. */
  readonly enabled: boolean;
  /** `fields` is the inside of a JSON object in ASCII, already escaped, with a comma before each field. */
  write(fields: string): void;
  close(): void;
}

const FLUSH_MS = 50;
const BUFFER_BYTES = 65_536;

/** Lines of level info beside those of `log`, to the same place. */
export function createLineLog(log: Log, service: string): LineLog {
  const sink = log as Log & {
    [pino.symbols.streamSym]: DestinationStream;
    isLevelEnabled(level: string): boolean;
  };
  const prefix = `{"level":"info","service":${JSON.stringify(service)},"at":"`;
  // Bytes, not a string that grows: joining thousands of small parts at its end costs more than writing each at once.
  const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  let end = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let millisecond = 0;
  let stamp = '';

  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (end === 0) return;
    const text = buffer.toString('latin1', 0, end);
    end = 0;
    sink[pino.symbols.streamSym].write(text);
  };
  return {
    get enabled() {
      return sink.isLevelEnabled('info');
    },
    write(fields) {
      const now = Date.now();
      if (now !== millisecond) {
        millisecond = now;
        stamp = `${prefix}${new Date(now).toISOString()}"`;
      }
      const line = `${stamp}${fields}}\n`;
      if (end + line.length > BUFFER_BYTES) flush();
      end += buffer.write(line, end, 'latin1');
      timer ??= setTimeout(flush, FLUSH_MS);
    },
    close: flush,
  };
}
