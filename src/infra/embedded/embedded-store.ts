import type { ExitResult } from "./child-process.ts";
import { readLastLines } from "./log-file.ts";

/** A store that was started for this process and ends with it. */
export interface EmbeddedStore {
  /** Address with the password: not for logs. */
  url: string;
  /** One line for the start of the service, without secrets. */
  description: string;
  /** Resolves with a message for the log if the store ends unexpectedly; stays pending if it is stopped. */
  exited: Promise<string>;
  /** Stops it, within about 12 s. May be called twice. */
  stop(): Promise<void>;
}

/** A running server: a process or a thread. */
export interface RunningServer {
  readonly ended: Promise<ExitResult>;
  unref(): void;
  stop(): Promise<void>;
}

export interface EmbeddedStoreOptions {
  url: string;
  description: string;
  name: string;
  logFile: string;
  server: RunningServer;
  /** Runs once, after `stop` has stopped the server. */
  release?(): Promise<void>;
}

/** Creates the store of a running server, which no longer keeps this process alive. */
export function createEmbeddedStore(options: EmbeddedStoreOptions): EmbeddedStore {
  const { url, description, name, logFile, server } = options;
  let stopped: Promise<void> | undefined;
  server.unref();
  const exited = new Promise<string>((resolve) => {
    void server.ended.then(async ({ text }) => {
      if (stopped !== undefined) return;
      resolve(
        `${name} ended unexpectedly (${text}). Last lines of ${logFile}:\n${await readLastLines(logFile)}`,
      );
    });
  });
  const stopServer = async () => {
    await server.stop();
    await options.release?.();
  };
  return {
    url,
    description,
    exited,
    stop() {
      stopped ??= stopServer();
      return stopped;
    },
  };
}
