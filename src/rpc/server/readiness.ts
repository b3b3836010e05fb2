import type { Log } from "../../kernel/log.ts";

/** Whether calls can be answered now, and what that was decided by. */
export interface Readiness {
  ready: boolean;
  checks: Record<string, string>;
}

/** An answer is used for this long, so that probes cost the stores nothing. */
const freshMs = 1_000;

/** A check that takes longer has failed. */
const timeoutMs = 2_000;

const stopping: Readiness = { ready: false, checks: { server: "stopping" } };

/**
 * Asks the check at most once a second and waits for it for at most two; never fails. Once `draining`
 * aborts, the answer is no.
 */
export function createReadiness(
  check: () => Promise<Readiness>,
  draining: AbortSignal,
  log: Log,
): () => Promise<Readiness> {
  let latest: Promise<Readiness> | undefined;
  let askedAtMs = Number.NEGATIVE_INFINITY;
  const ask = async (): Promise<Readiness> => {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<Readiness>((resolve) => {
      timer = setTimeout(resolve, timeoutMs, {
        ready: false,
        checks: { readiness: `no answer in ${timeoutMs} ms` },
      });
    });
    try {
      return await Promise.race([check(), tooLate]);
    } catch (error) {
      log.error({ err: error }, "The readiness check failed");
      return { ready: false, checks: { readiness: "failed" } };
    } finally {
      clearTimeout(timer);
    }
  };
  return async () => {
    if (draining.aborted) return stopping;
    const nowMs = performance.now();
    if (latest === undefined || nowMs - askedAtMs >= freshMs) {
      askedAtMs = nowMs;
      latest = ask();
    }
    const readiness = await latest;
    return draining.aborted ? stopping : readiness;
  };
}
