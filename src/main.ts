import { startApp } from "./app.ts";
import { printBanner } from "./banner.ts";
import { readConfig, readDotEnv } from "./config.ts";
import { createLog } from "./infra/log.ts";
import { StartError } from "./kernel/errors.ts";

try {
  const config = readConfig({ ...readDotEnv(), ...process.env });
  const log = createLog(config.logLevel, process.stdout.isTTY);
  const app = await startApp(config, log);
  printBanner(app, config, log);
  let stopping = false;
  const stop = (signal: NodeJS.Signals) => {
    // A second signal does not wait for calls in flight.
    if (stopping) process.exit(1);
    stopping = true;
    log.info({ signal }, "stopping");
    app.close().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, "could not stop in order");
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
