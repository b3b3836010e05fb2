/** Delay after the first failure and after many in a row, in milliseconds. */
const RETRY_MS = { first: 250, max: 30_000 };

/** Work that repeats until it is closed. */
export interface Loop {
  /** Waits for the round that runs, up to `graceMs` milliseconds; then its signal aborts. */
  close(graceMs?: number): Promise<void>;
}

export interface LoopOptions {
  /**
   * Does one round of the work.
   * @param signal aborts when the round must end
   * @returns delay of the next round in milliseconds
   */
  run(signal: AbortSignal): Promise<number>;
  /** Called when a round has failed. The next one follows with exponential backoff and jitter. */
  onFailure(error: unknown, failuresInARow: number): void;
}

const DEFAULT_GRACE_MS = 5_000;

/** Starts a loop with its first round. Rounds do not overlap. */
export function startLoop({ run, onFailure }: LoopOptions): Loop {
  const closing = new AbortController();
  let isClosed = false;
  let timer: NodeJS.Timeout | undefined;
  let running = Promise.resolve();
  let failuresInARow = 0;

  const round = async (): Promise<number> => {
    try {
      const delayMs = await run(closing.signal);
      failuresInARow = 0;
      return delayMs;
    } catch (error) {
      if (isClosed) return 0;
      failuresInARow += 1;
      onFailure(error, failuresInARow);
      return Math.min(RETRY_MS.first * 2 ** (failuresInARow - 1), RETRY_MS.max) * (0.5 + Math.random());
    }
  };
  const schedule = (delayMs: number) => {
    if (isClosed) return;
    timer = setTimeout(() => {
      running = round().then(schedule);
    }, delayMs);
  };
  schedule(0);
  return {
    async close(graceMs = DEFAULT_GRACE_MS) {
      isClosed = true;
      clearTimeout(timer);
      const abort = setTimeout(() => closing.abort(), graceMs);
      await running;
      clearTimeout(abort);
    },
  };
}
