import type { Log } from "../../kernel/log.ts";

const INTERVAL_MS = 30_000;

/** Returns a function that logs a warning at most twice a minute, and at debug level in between. */
export function createThrottledWarning(log: Log): Log["warn"] {
  let quietUntilMs = 0;
  return (fields, message) => {
    if (performance.now() < quietUntilMs) return log.debug(fields, message);
    quietUntilMs = performance.now() + INTERVAL_MS;
    log.warn(fields, message);
  };
}
