import {
  type BatchLimits,
  type BatchWriter,
  createBatchWriter,
  type Outcome,
} from "../../../src/infra/batch-writer/batch-writer.ts";
import type { Tx } from "../../../src/infra/postgres/postgres.ts";
import { type Call, internalCall } from "../../../src/kernel/call.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { silentLog } from "../log.ts";

/** An item with a name, and the keys that it locks. */
export interface FakeItem {
  name: string;
  keys: readonly string[];
}

/** A step of a fake transaction. */
export type Step = "lock" | "write" | "commit";

/** One attempt of a transaction. */
export interface FakeTransaction {
  /** The names of the items that were locked, and of those that were written. */
  locked: string[];
  written: string[];
  signal: AbortSignal;
  /** Lets a held step go on. */
  release(step: Step): void;
  isOver: boolean;
}

/** A batch writer on transactions that the test controls. */
export interface FakeBatches {
  writer: BatchWriter<FakeItem, string>;
  /** All transactions in the order of their start. */
  transactions: FakeTransaction[];
  /** The names of the items of committed transactions, in order. */
  committed: string[];
  /** Writes an item; the result is its name. */
  write(name: string, keys?: readonly string[], call?: Call): Promise<string>;
}

/** What a test changes about the transactions. */
export interface FakeBatchOptions {
  limits?: Partial<BatchLimits>;
  /** The steps at which every transaction stops until it is released. */
  hold?: readonly Step[];
  /** Runs at a step of a transaction; what it throws is the error of the transaction. */
  onStep?: (step: Step, names: readonly string[]) => void;
  /** Returns the outcome of an item, or none. Defaults to its name. */
  decide?: (name: string) => Outcome<string> | undefined;
  /** Returns whether another session has locked a key. Defaults to none. */
  isLocked?: (key: string) => boolean;
}

export const LIMITS: BatchLimits = {
  items: 100,
  keys: 1_000,
  maxInFlight: 1,
  waiting: 1_000,
  waitMs: 60_000,
};

/** Creates a writer whose transactions end immediately, unless steps are held. */
export function createFakeBatches({
  limits,
  hold = [],
  onStep = () => {},
  decide = (name) => ({ result: name }),
  isLocked = () => false,
}: FakeBatchOptions = {}): FakeBatches {
  const transactions: FakeTransaction[] = [];
  const committed: string[] = [];
  const steps = new WeakMap<Tx, (step: Step, names: readonly string[]) => Promise<void>>();
  const writer = createBatchWriter<FakeItem, undefined, string>({
    db: {
      async transact(call, work) {
        const gates = new Map(hold.map((step) => [step, Promise.withResolvers<void>()]));
        const transaction: FakeTransaction = {
          locked: [],
          written: [],
          signal: call.signal,
          release: (step) => gates.get(step)?.resolve(),
          isOver: false,
        };
        transactions.push(transaction);
        const pass = async (step: Step, names: readonly string[]) => {
          if (step === "lock") transaction.locked = [...names];
          if (step === "write") transaction.written = [...names];
          await gates.get(step)?.promise;
          call.signal.throwIfAborted();
          onStep(step, names);
        };
        try {
          const tx = fakeTx();
          steps.set(tx, pass);
          const result = await work(tx);
          await pass("commit", transaction.written);
          committed.push(...transaction.written);
          return result;
        } finally {
          transaction.isOver = true;
        }
      },
    },
    work: {
      keysOf: ({ keys }) => keys,
      async lock(tx, items) {
        await steps.get(tx)?.("lock", namesOf(items));
        return undefined;
      },
      async write(tx, _locked, items) {
        await steps.get(tx)?.("write", namesOf(items));
        return items.map(({ name }) => decide(name)).filter((outcome) => outcome !== undefined);
      },
      findLocked: async (_tx, items) => new Set(items.flatMap(({ keys }) => keys).filter(isLocked)),
    },
    audit: { ids: createIds(), clock: systemClock },
    statementTimeoutMs: 5_000,
    lockTimeoutMs: 100,
    limits: { ...LIMITS, ...limits },
    log: silentLog,
  });
  return {
    writer,
    transactions,
    committed,
    write: (name, keys = [name], call = internalCall()) => writer.write(call, { name, keys }),
  };
}

const namesOf = (items: readonly FakeItem[]): string[] => items.map(({ name }) => name);

function fakeTx(): Tx {
  const unused = () => {
    throw new Error("the fake transaction has no statements");
  };
  return {
    get em() {
      return unused();
    },
    query: unused,
    pipelined: unused,
    invalidate: unused,
    invalidateThrottled: unused,
    invalidation: unused,
    repeatInvalidation: unused,
    publish: unused,
  };
}
