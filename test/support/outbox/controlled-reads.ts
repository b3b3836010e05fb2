import type { Database } from "../../../src/infra/postgres/postgres.ts";
import type { Statement } from "../../../src/infra/postgres/statement.ts";
import type { Call } from "../../../src/kernel/call.ts";

/** A database whose reads are counted, and can be paused and fail. */
export interface ControlledReads extends Pick<Database, "read"> {
  /** Reads that were started. */
  readonly count: number;
  /** Reads that wait. */
  readonly pausedCount: number;
  /** Makes reads wait before they start, until `resume`. */
  pause(): void;
  resume(): void;
  /** Makes the next read keep its result until `release`. */
  holdNext(): HeldRead;
  /** Makes the next reads fail. */
  fail(times: number): void;
}

/** A read whose result is delivered later. */
export interface HeldRead {
  /** Resolves when the database has returned the result. */
  readonly finished: Promise<void>;
  release(): void;
}

export function controlReads(db: Pick<Database, "read">): ControlledReads {
  let count = 0;
  let pausedCount = 0;
  let failures = 0;
  let resumed: PromiseWithResolvers<void> | undefined;
  let held: { finish(): void; released: Promise<void> } | undefined;
  return {
    get count() {
      return count;
    },
    get pausedCount() {
      return pausedCount;
    },
    pause() {
      resumed ??= Promise.withResolvers();
    },
    resume() {
      resumed?.resolve();
      resumed = undefined;
    },
    holdNext() {
      const finished = Promise.withResolvers<void>();
      const released = Promise.withResolvers<void>();
      held = { finish: finished.resolve, released: released.promise };
      return { finished: finished.promise, release: released.resolve };
    },
    fail(times) {
      failures = times;
    },
    async read<Row>(call: Call, statement: Statement<Row>) {
      count += 1;
      pausedCount += 1;
      await resumed?.promise;
      pausedCount -= 1;
      if (failures > 0) {
        failures -= 1;
        throw new Error("the database is unavailable");
      }
      const holding = held;
      held = undefined;
      const rows = await db.read(call, statement);
      holding?.finish();
      await holding?.released;
      return rows;
    },
  };
}
