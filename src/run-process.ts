import { logUnknownVariables } from "./config/unknown-variables.ts";
import { type Config, loadConfig } from "./config.ts";
import { createLog } from "./infra/log.ts";
import { StartupError } from "./kernel/errors.ts";
import type { Log } from "./kernel/log.ts";

/** The service or the worker of this process. */
export interface Running {
  /** Resolves when the process cannot continue; the log has the reason. */
  readonly failed: Promise<void>;
  /** Finishes what is in flight, for `graceMs` milliseconds at most, then closes everything. */
  close(graceMs?: number): Promise<void>;
}

/**
 * The grace period after the database is lost, in milliseconds. Calls in flight can only fail; this is enough to send
 * their errors.
 */
const FAILED_GRACE_MS = 1_000;
/**
 * After this time the process exits even if something does not close, in milliseconds. Longer than killing a store
 * takes.
 */
const FAILED_LIMIT_MS = 15_000;

/** The version of Node that `npm ci` installs. */
const TESTED_NODE_MAJOR = 26;

/**
 * Reads the configuration, starts the service or the worker of this process, and stops it at SIGTERM or SIGINT. A
 * StartupError is printed without a stack, and sets exit code 1.
 */
export async function runProcess(start: (config: Config, log: Log) => Promise<Running>): Promise<void> {
  try {
    const { config, unknownVariables } = loadConfig();
    const log = createLog(config.logLevel, process.stdout);
    logUnknownVariables(unknownVariables, log);
    if (Number.parseInt(process.versions.node, 10) < TESTED_NODE_MAJOR) {
      log.warn(
        { version: process.version, tested: TESTED_NODE_MAJOR },
        "Started on a version of Node that is not tested",
      );
    }
    stopOnSignals(await start(config, log), log);
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

function stopOnSignals(running: Running, log: Log): void {
  let stopping = false;
  const stop = (exitCode: number, graceMs?: number) => {
    stopping = true;
    running.close(graceMs).then(
      () => process.exit(exitCode),
      (error: unknown) => {
        log.error({ err: error }, "Shutdown failed");
        process.exit(1);
      },
    );
  };
  const onSignal = (signal: NodeJS.Signals) => {
    // A second signal does not wait for what is in flight.
    if (stopping) process.exit(1);
    log.info({ signal }, "Shutdown started");
    stop(0);
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  void running.failed.then(() => {
    if (stopping) return;
    setTimeout(() => process.exit(1), FAILED_LIMIT_MS).unref();
    stop(1, FAILED_GRACE_MS);
  });
}
