import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { StartupError } from "../../kernel/errors.ts";
import type { ChildHandle } from "./child-process.ts";
import { openLogFile, readLastLines } from "./data-dir.ts";

/** A store that was started for this process and ends with it, however it ends. */
export interface EmbeddedStore {
  /** With the password in it: not for logs. */
  url: string;
  /** One line for a person, without secrets. */
  description: string;
  /** Resolves with the reason if the store ends by itself; stays pending if it is stopped. For the log. */
  exited: Promise<string>;
  /** Ends it, in about 12 s at most. May be called twice. */
  stop(): Promise<void>;
}

const ATTEMPTS = 6;
/** The port was taken between our look and the store's; processes of a killed former run are still leaving. */
const WORTH_A_RETRY = /address already in use|pre-existing shared memory block/i;

/**
 * Starts a server on a free port of 127.0.0.1 and waits until it answers, again on another port when it lost
 * a race for the first.
 *
 * @param logFile truncated first; its end goes into the message when the start fails
 * @param spawn starts the process, its output going to `logFd`
 * @param answers resolves when the server answers, rejects when that is hopeless
 * @throws StartError
 */
export async function startServer(o: {
  name: string;
  logFile: string;
  advice: string;
  spawn(port: number, logFd: number): ChildHandle;
  answers(port: number, signal: AbortSignal): Promise<void>;
}): Promise<{ port: number; server: ChildHandle }> {
  const log = await openLogFile(o.logFile);
  try {
    for (let attempt = 1; ; attempt++) {
      const port = await freePort();
      const server = o.spawn(port, log.fd);
      const failure = await untilItAnswers(server, (signal) => o.answers(port, signal));
      if (failure === undefined) return { port, server };
      await server.stop();
      const words = await readLastLines(o.logFile);
      if (attempt === ATTEMPTS || !WORTH_A_RETRY.test(words)) {
        throw new StartupError(
          `${o.name} did not start: ${failure}. The end of ${o.logFile}:\n${words}\n${o.advice}`,
        );
      }
      await delay(50 * 2 ** attempt);
    }
  } finally {
    await log.close();
  }
}

async function untilItAnswers(
  server: ChildHandle,
  answers: (signal: AbortSignal) => Promise<void>,
): Promise<string | undefined> {
  const giveUp = new AbortController();
  const ended = server.ended.then((ending) => ending.text);
  const answered = answers(giveUp.signal).catch(async (error: unknown) => {
    // Often it is on its way out, and knows better why.
    const itself = await Promise.race([ended, delay(500)]);
    return itself ?? (error instanceof Error ? error.message : String(error));
  });
  const outcome = await Promise.race([ended, answered]);
  giveUp.abort();
  return outcome ?? undefined;
}

/** A port of 127.0.0.1 that nobody listens on now. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => {
        if (address !== null && typeof address === "object") resolve(address.port);
        else reject(new StartupError("127.0.0.1 has no free port."));
      });
    });
  });
}

/** The store that a running server is. `release` runs once, after its end was asked for and has come. */
export function createEmbeddedStore(o: {
  url: string;
  description: string;
  name: string;
  logFile: string;
  server: ChildHandle;
  release?(): Promise<void>;
}): EmbeddedStore {
  let stopped: Promise<void> | undefined;
  o.server.unref();
  const exited = new Promise<string>((resolve) => {
    void o.server.ended.then(async ({ text }) => {
      if (stopped === undefined)
        resolve(`${o.name} ended by itself (${text}). ${await lastWords(o.logFile)}`);
    });
  });
  const stop = async () => {
    await o.server.stop();
    await o.release?.();
  };
  return {
    url: o.url,
    description: o.description,
    exited,
    stop() {
      stopped ??= stop();
      return stopped;
    },
  };
}

const lastWords = async (logFile: string) => `The end of ${logFile}:\n${await readLastLines(logFile)}`;
