import { internalCall } from "../../../kernel/call.ts";
import type { Log } from "../../../kernel/log.ts";
import { createThrottledWarning } from "../../jobs/throttled-warning.ts";
import type { Database } from "../../postgres/postgres.ts";
import { readPosition, readTail, type TailEvent, type TailLimits, type TailPosition } from "./read-tail.ts";

/** Delay after the first failure and after many in a row, in milliseconds. */
const RETRY_MS = { first: 100, max: 2_000 };
/** Delay after a commit of this process, so that one batch reads the commits of this time. In milliseconds. */
const WAKE_DELAY_MS = 2;

export interface TailLoopOptions {
  db: Pick<Database, "read">;
  log: Log;
  /** Interval at which events of other processes are noticed, in milliseconds. */
  pollMs: number;
  limits: TailLimits;
  /** Returns the names of the topics to read now. */
  topics(): readonly string[];
  /**
   * Called with the events of a batch, which may be none.
   * @param topics those that were read
   */
  onEvents(events: readonly TailEvent[], topics: ReadonlySet<string>): void;
  /** Called when the loop has a position after which no event will be missing, and events before may be. */
  onGap(): void;
}

/** Reads the outbox, batch by batch, until it is closed. */
export interface TailLoop {
  /** Reads a batch soon, unless the last one has failed. */
  wake(): void;
  /** Stops. A statement that runs is not interrupted. */
  stop(): void;
  /** Stops, interrupts the statement that runs and waits for its end. */
  close(): Promise<void>;
}

/** Starts a loop, which reads what is committed from now on. */
export function startTailLoop(options: TailLoopOptions): TailLoop {
  const { db, log, pollMs, limits, topics, onEvents, onGap } = options;
  const warn = createThrottledWarning(log);
  const closing = new AbortController();
  const call = internalCall(closing.signal);
  let position: TailPosition | undefined;
  let timer: NodeJS.Timeout | undefined;
  let dueAtMs = Number.POSITIVE_INFINITY;
  let running: Promise<void> | undefined;
  let isStopped = false;
  let wasWoken = false;
  let failuresInARow = 0;

  function schedule(delayMs: number): void {
    const atMs = performance.now() + delayMs;
    if (isStopped || running !== undefined || atMs >= dueAtMs) return;
    clearTimeout(timer);
    dueAtMs = atMs;
    timer = setTimeout(start, delayMs);
  }

  function start(): void {
    dueAtMs = Number.POSITIVE_INFINITY;
    wasWoken = false;
    running = run().then((delayMs) => {
      running = undefined;
      schedule(delayMs);
      if (wasWoken && failuresInARow === 0) schedule(WAKE_DELAY_MS);
    });
  }

  /** Reads a batch. @returns the delay of the next one */
  async function run(): Promise<number> {
    try {
      const delayMs = position === undefined ? await begin() : await read(position);
      failuresInARow = 0;
      return delayMs;
    } catch (error) {
      if (closing.signal.aborted) return pollMs;
      failuresInARow += 1;
      warn({ err: error, failuresInARow }, "Tail of the outbox failed; retrying");
      return Math.min(RETRY_MS.first * 2 ** (failuresInARow - 1), RETRY_MS.max) * (0.5 + Math.random());
    }
  }

  async function begin(): Promise<number> {
    position = await readPosition(db, call);
    if (!isStopped) onGap();
    return pollMs;
  }

  async function read(from: TailPosition): Promise<number> {
    const names = topics();
    const batch = await readTail(db, call, from, names, limits);
    if (isStopped) return pollMs;
    if (batch.isIncomplete) {
      warn({ position: from }, "Tail of the outbox missed events; its subscribers read again");
      return begin();
    }
    position = batch.position;
    onEvents(batch.events, new Set(names));
    return batch.hasMore ? 0 : pollMs;
  }

  schedule(0);
  return {
    wake() {
      wasWoken = true;
      // A failed loop keeps its delay.
      if (failuresInARow === 0) schedule(WAKE_DELAY_MS);
    },
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
    async close() {
      this.stop();
      closing.abort();
      await running;
    },
  };
}
