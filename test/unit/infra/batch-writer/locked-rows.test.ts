import { afterEach, expect, test, vi } from "vitest";
import { AppError } from "../../../../src/kernel/errors.ts";
import { createFakeBatches, type FakeTransaction } from "../../../support/batch-writer/fake-batches.ts";
import { settleTurns } from "../../../support/batch-writer/turns.ts";

afterEach(() => {
  vi.useRealTimers();
});

/** Creates a writer whose items lock keys that another session may have locked. */
function createLockedBatches(locked: Set<string>, waitMs = 60_000) {
  const keysByName = new Map<string, readonly string[]>();
  const batches = createFakeBatches({
    limits: { waitMs },
    isLocked: (key) => locked.has(key),
    onStep(step, names) {
      const isBlocked = names.some((name) => keysByName.get(name)?.some((key) => locked.has(key)));
      if (step === "lock" && isBlocked) throw lockTimeout();
    },
  });
  const write = (name: string, keys: readonly string[]) => {
    keysByName.set(name, keys);
    return batches.write(name, keys);
  };
  return { ...batches, write };
}

/** Returns the error that `Database.transact` throws for a statement that waited too long for a lock. */
function lockTimeout(): AppError {
  const cause = Object.assign(new Error("canceling statement due to lock timeout"), { code: "55P03" });
  return new AppError("aborted", "Contention.", { reason: "CONTENTION" }, cause);
}

const writtenNames = (transactions: readonly FakeTransaction[]) =>
  transactions.filter(({ written }) => written.length > 0).map(({ written }) => written.join(""));

test("a call whose rows are locked does not stop the others of its batch, nor later ones", async () => {
  const locked = new Set(["1"]);
  const { write, committed, writer } = createLockedBatches(locked);
  const waiting = [write("a", ["1", "2"]), write("b", ["1"])];
  await Promise.all([write("c", ["2"]), write("d", ["3"])]);
  waiting.push(write("e", ["1"]));
  await write("f", ["2"]);
  expect(committed.join("")).toBe("cdf");
  expect(writer.stats()).toMatchObject({ waiting: 3, lockTimeouts: 1 });
  locked.clear();
  await Promise.all(waiting);
  expect(committed.slice(3).filter((name) => name !== "a")).toEqual(["b", "e"]);
  expect(writer.stats()).toMatchObject({ waiting: 0, lockTimeouts: 1 });
});

test("calls that have waited for locked rows have batches of their own", async () => {
  const locked = new Set(["1"]);
  const { write, transactions } = createLockedBatches(locked);
  const waiting = write("a", ["1"]);
  await write("b", ["2"]);
  locked.clear();
  await Promise.all([waiting, write("c", ["3"])]);
  expect(writtenNames(transactions).toSorted()).toEqual(["a", "b", "c"]);
});

test("a call whose rows stay locked is rejected with ABORTED when it has waited too long", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  const { write, writer } = createLockedBatches(new Set(["1"]), 200);
  const rejected = expect(write("a", ["1"])).rejects.toMatchObject({
    code: "aborted",
    details: { reason: "CONTENTION", retryAfterMs: 1_000 },
  });
  await settleTurns();
  await vi.advanceTimersByTimeAsync(200);
  await rejected;
  expect(writer.stats()).toMatchObject({ waiting: 0, rejected: 1 });
});
