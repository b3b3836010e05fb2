import { type Backoff, backoffMs } from "./backoff.ts";

/** Work that repeats until it is stopped. */
export interface Loop {
  /** Runs a round after a delay in milliseconds, or earlier if one is due. After a failed round, the backoff is kept. */
  wake(delayMs: number): void;
  /** Prevents further rounds. The one that runs is not interrupted. */
  stop(): void;
  /** Stops, and waits for the round that runs, up to `graceMs` milliseconds; then its signal aborts. */
  close(graceMs?: number): Promise<void>;
}

export interface LoopOptions {
  /**
   * Does one round of the work.
   * @param signal aborts when the round must end
   * @returns delay of the next round in milliseconds
   */
  run(signal: AbortSignal): Promise<number>;
  /** Called when a round has failed, unless the loop is stopped. The next one follows with exponential backoff and jitter. */
  onFailure(error: unknown, failuresInARow: number): void;
  /** From 250 ms to 30 s by default. */
  backoff?: Backoff;
}

const DEFAULT_GRACE_MS = 5_000;
const DEFAULT_BACKOFF: Backoff = { firstMs: 250, maxMs: 30_000 };

/** Starts a loop with its first round. Rounds do not overlap. */
export function startLoop({ run, onFailure, backoff = DEFAULT_BACKOFF }: LoopOptions): Loop {
  const closing = new AbortController();
  let isStopped = false;
  let timer: NodeJS.Timeout | undefined;
  let dueAtMs = Number.POSITIVE_INFINITY;
  let running: Promise<void> | undefined;
  /** The shortest delay with which the loop was woken since its last round began. */
  let wakeDelayMs = Number.POSITIVE_INFINITY;
  let failuresInARow = 0;

  async function round(): Promise<number> {
    try {
      const delayMs = await run(closing.signal);
      failuresInARow = 0;
      return Math.min(delayMs, wakeDelayMs);
    } catch (error) {
      if (isStopped) return 0;
      failuresInARow += 1;
      onFailure(error, failuresInARow);
      return backoffMs(failuresInARow, backoff);
    }
  }

  function schedule(delayMs: number): void {
    const atMs = performance.now() + delayMs;
    if (isStopped || running !== undefined || atMs >= dueAtMs) return;
    clearTimeout(timer);
    dueAtMs = atMs;
    timer = setTimeout(start, delayMs);
  }

  function start(): void {
    dueAtMs = Number.POSITIVE_INFINITY;
    wakeDelayMs = Number.POSITIVE_INFINITY;
    running = round().then((delayMs) => {
      running = undefined;
      schedule(delayMs);
    });
  }

  function stop(): void {
    isStopped = true;
    clearTimeout(timer);
  }

  schedule(0);
  return {
    wake(delayMs) {
      wakeDelayMs = Math.min(delayMs, wakeDelayMs);
      if (failuresInARow === 0) schedule(delayMs);
    },
    stop,
    async close(graceMs = DEFAULT_GRACE_MS) {
      stop();
      const abort = setTimeout(() => closing.abort(), graceMs);
      await running;
      clearTimeout(abort);
    },
  };
}
