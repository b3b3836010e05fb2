import { startApp } from "./app.ts";
import { printBanner } from "./banner.ts";
import { logUnknownVariables } from "./config/unknown-variables.ts";
import { loadConfig } from "./config.ts";
import { createLog } from "./infra/log.ts";
import { StartupError } from "./kernel/errors.ts";

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
  const app = await startApp(config, log);
  printBanner(app, config, log);
  let stopping = false;
  const stop = (exitCode: number, graceMs?: number) => {
    stopping = true;
    app.close(graceMs).then(
      () => process.exit(exitCode),
      (error: unknown) => {
        log.error({ err: error }, "Shutdown failed");
        process.exit(1);
      },
    );
  };
  const onSignal = (signal: NodeJS.Signals) => {
    // A second signal does not wait for calls in flight.
    if (stopping) process.exit(1);
    log.info({ signal }, "Shutdown started");
    stop(0);
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  void app.failed.then(() => {
    if (stopping) return;
    setTimeout(() => process.exit(1), FAILED_LIMIT_MS).unref();
    stop(1, FAILED_GRACE_MS);
  });
} catch (error) {
  if (!(error instanceof StartupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
