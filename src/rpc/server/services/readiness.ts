import type { Log } from "../../../kernel/log.ts";

/** Whether calls can be served, with the result of each check. */
export interface Readiness {
  ready: boolean;
  checks: Record<string, string>;
}

/** The limits of readiness checks. */
export interface ReadinessLimits {
  /** Time for which a result is reused, so that probes do not load the stores, in milliseconds. */
  readinessMaxAgeMs: number;
  /** Longest time of a check before it counts as failed, in milliseconds. */
  readinessTimeoutMs: number;
}

const STOPPING: Readiness = { ready: false, checks: { server: "stopping" } };

/**
 * Creates a readiness check that reuses recent results, is bounded in time and never throws. Not ready from the moment
 * that `draining` aborts.
 */
export function createReadiness(
  check: () => Promise<Readiness>,
  draining: AbortSignal,
  { readinessMaxAgeMs, readinessTimeoutMs }: ReadinessLimits,
  log: Log,
): () => Promise<Readiness> {
  const runCheck = async (): Promise<Readiness> => {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<Readiness>((resolve) => {
      timer = setTimeout(resolve, readinessTimeoutMs, {
        ready: false,
        checks: { readiness: `timed out after ${readinessTimeoutMs} ms` },
      });
    });
    try {
      return await Promise.race([check(), timeout]);
    } catch (error) {
      log.error({ err: error }, "Readiness check failed");
      return { ready: false, checks: { readiness: "failed" } };
    } finally {
      clearTimeout(timer);
    }
  };
  let latest: Promise<Readiness> | undefined;
  let checkedAtMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (draining.aborted) return STOPPING;
    const nowMs = performance.now();
    if (latest === undefined || nowMs - checkedAtMs >= readinessMaxAgeMs) {
      checkedAtMs = nowMs;
      latest = runCheck();
    }
    const readiness = await latest;
    return draining.aborted ? STOPPING : readiness;
  };
}
