import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { errorMessage, StartupError } from "../../kernel/errors.ts";
import type { ChildHandle } from "./child-process.ts";
import { openLogFile, readLastLines } from "./log-file.ts";

export interface StartServerOptions {
  name: string;
  /** Emptied first. Its last lines are part of the error message if the start fails. */
  logFile: string;
  /** The last sentence of that message. */
  advice: string;
  /** Starts the process with its output to `logFd`. */
  spawn(port: number, logFd: number): ChildHandle;
  /** Resolves when the server accepts requests; rejects if it never will. */
  waitUntilReady(port: number, signal: AbortSignal): Promise<void>;
}

const ATTEMPTS = 6;
const FIRST_DELAY_MS = 100;
/** Time limit for the exit code of a server that is not ready, in milliseconds. */
const EXIT_WAIT_MS = 500;
/** Another process took the port between the search and the start, or processes of a killed run still exist. */
const RETRYABLE = /address already in use|pre-existing shared memory block/i;

/**
 * Starts a server on a free port of 127.0.0.1 and waits until it is ready. Retries on another port if the first one
 * was taken meanwhile.
 * @throws StartupError with the end of the server's log
 */
export async function startServer(
  options: StartServerOptions,
): Promise<{ port: number; server: ChildHandle }> {
  const { name, logFile, advice } = options;
  const log = await openLogFile(logFile);
  try {
    for (let attempt = 1; ; attempt++) {
      const port = await findFreePort();
      const server = options.spawn(port, log.fd);
      const failure = await findFailure(server, (signal) => options.waitUntilReady(port, signal));
      if (failure === undefined) return { port, server };
      await server.stop();
      const lines = await readLastLines(logFile);
      if (attempt === ATTEMPTS || !RETRYABLE.test(lines)) {
        throw new StartupError(
          `${name} did not start: ${failure}. Last lines of ${logFile}:\n${lines}\n${advice}`,
        );
      }
      await sleep(FIRST_DELAY_MS * 2 ** (attempt - 1));
    }
  } finally {
    await log.close();
  }
}

/**
 * Waits until the server is ready, has ended or will never be ready.
 * @returns the reason of the failure; undefined if ready
 */
async function findFailure(
  server: ChildHandle,
  waitUntilReady: (signal: AbortSignal) => Promise<void>,
): Promise<string | undefined> {
  const controller = new AbortController();
  const ended = server.ended.then((exit) => exit.text);
  const ready = waitUntilReady(controller.signal).catch(async (error: unknown) => {
    // The server has often just ended, and its exit code says more than the connection error.
    const exit = await Promise.race([ended, sleep(EXIT_WAIT_MS)]);
    return exit ?? errorMessage(error);
  });
  const outcome = await Promise.race([ended, ready]);
  controller.abort();
  return outcome ?? undefined;
}

function findFreePort(): Promise<number> {
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
