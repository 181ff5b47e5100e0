import type { Started } from './process.ts';
import type { ServerName, State } from './state.ts';

/** What a way of running servers needs to know for one set of them. */
export interface Context {
  /** The folder of the set: state, data, logs. */
  dir: string;
  state: State;
  /** Where built programs are kept, for every clone of this user. */
  cache: string;
  log(line: string): void;
}

/** A way of running the servers: Docker containers, or programs of this machine. */
export interface Backend {
  /** Makes the programs of all servers available, each by itself. Rejects saying exactly what is missing. */
  install(context: Context): Record<ServerName, Promise<void>>;
  /** Starts a server that is not running, on the ports, data and credentials of the state. */
  start(name: ServerName, context: Context): Promise<Started>;
  /** Whether the server that was started runs now. */
  isRunning(name: ServerName, context: Context, known: Started | undefined): Promise<boolean>;
  /** Ends a server in good order, or by force after a while. Resolves when it is gone. */
  stop(name: ServerName, context: Context, known: Started | undefined): Promise<void>;
  /** The end of what the server said, for an error message. */
  tail(name: ServerName, context: Context): Promise<string>;
  /** Removes what a server keeps outside its set's folder. */
  forget(name: ServerName, context: Context): Promise<void>;
}
