import { MINUTE_MS } from "../kernel/durations.ts";
import type { Log } from "../kernel/log.ts";

/** Logs counters, unless they were logged less than a minute ago or nothing was counted since then. */
export type StatsLog = (counted: number, fields: () => Record<string, unknown>) => void;

/**
 * Creates a log of counters at level info.
 * @param nowMs a clock in milliseconds
 */
export function createStatsLog(
  log: Pick<Log, "info">,
  message: string,
  nowMs = () => performance.now(),
): StatsLog {
  let loggedAtMs = nowMs();
  let logged = 0;
  return (counted, fields) => {
    if (counted === logged || nowMs() - loggedAtMs < MINUTE_MS) return;
    loggedAtMs = nowMs();
    logged = counted;
    log.info(fields(), message);
  };
}
