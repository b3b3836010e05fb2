import type { Backoff } from "../../../kernel/async/backoff.ts";
import { startLoop } from "../../../kernel/async/start-loop.ts";
import { type Call, internalCall } from "../../../kernel/call.ts";
import type { Log } from "../../../kernel/log.ts";
import { createThrottledWarning } from "../../jobs/throttled-warning.ts";
import type { Database } from "../../postgres/postgres.ts";
import { readPosition, readTail, type TailEvent, type TailLimits, type TailPosition } from "./read-tail.ts";

const BACKOFF: Backoff = { firstMs: 100, maxMs: 2_000 };
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
  let position: TailPosition | undefined;
  let isStopped = false;

  async function begin(call: Call): Promise<number> {
    position = await readPosition(db, call);
    if (!isStopped) onGap();
    return pollMs;
  }

  async function read(call: Call, from: TailPosition): Promise<number> {
    const names = topics();
    const batch = await readTail(db, call, from, names, limits);
    if (isStopped) return pollMs;
    if (batch.isIncomplete) {
      warn({ position: from }, "Tail of the outbox missed events; its subscribers read again");
      return begin(call);
    }
    position = batch.position;
    onEvents(batch.events, new Set(names));
    return batch.hasMore ? 0 : pollMs;
  }

  const loop = startLoop({
    run(signal) {
      const call = internalCall(signal);
      return position === undefined ? begin(call) : read(call, position);
    },
    onFailure: (error, failuresInARow) =>
      warn({ err: error, failuresInARow }, "Tail of the outbox failed; retrying"),
    backoff: BACKOFF,
  });
  const stop = () => {
    isStopped = true;
    loop.stop();
  };
  return {
    wake: () => loop.wake(WAKE_DELAY_MS),
    stop,
    close() {
      stop();
      return loop.close(0);
    },
  };
}
