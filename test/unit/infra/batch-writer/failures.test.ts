import { expect, test } from "vitest";
import { AppError } from "../../../../src/kernel/errors.ts";
import {
  createFakeBatches,
  type FakeTransaction,
  type Step,
} from "../../../support/batch-writer/fake-batches.ts";

const namesOf = (transactions: readonly FakeTransaction[]) =>
  transactions.map(({ written }) => written.join(""));

/** Returns the error that `Database.transact` throws for a connection that was lost during COMMIT. */
function commitLost(): AppError {
  const cause = Object.assign(new Error("Connection terminated unexpectedly"), { code: "ECONNRESET" });
  return new AppError("unavailable", "Connection lost.", { reason: "DATABASE_AWAY" }, cause);
}

test("an item that fails in the database fails alone: its batch is divided until it is found", async () => {
  const broken = new Error("value out of range");
  const { write, transactions, committed, writer } = createFakeBatches({
    onStep(step, names) {
      if (step === "write" && names.includes("d")) throw broken;
    },
  });
  const outcomes = await Promise.allSettled([..."abcdefg"].map((name) => write(name)));
  expect(outcomes.map(({ status }) => status === "fulfilled")).toEqual([
    true,
    true,
    true,
    false,
    true,
    true,
    true,
  ]);
  expect(outcomes[3]).toMatchObject({ reason: broken });
  expect(namesOf(transactions)).toEqual(["abcdefg", "abcd", "ab", "cd", "c", "d", "efg"]);
  expect(committed.join("")).toBe("abcefg");
  expect(writer.stats()).toMatchObject({ bisections: 3, batches: 3, items: 6 });
});

test("the error of one item does not affect the others, and needs no second transaction", async () => {
  const rejected = new AppError("failed_precondition", "Sold out.", { reason: "OUT_OF_STOCK" });
  const { write, transactions } = createFakeBatches({
    decide: (name) => (name === "b" ? { error: rejected } : { result: name }),
  });
  const outcomes = await Promise.allSettled(["a", "b", "c"].map((name) => write(name)));
  expect(outcomes).toMatchObject([{ value: "a" }, { reason: rejected }, { value: "c" }]);
  expect(transactions).toHaveLength(1);
});

test.each(["unavailable", "aborted", "deadline_exceeded"] as const)(
  "a batch that fails with %s is not divided: all of its calls get the error",
  async (code) => {
    const error = new AppError(code, "Away.", { reason: "AWAY" });
    const { write, transactions } = createFakeBatches({
      onStep(step) {
        if (step === "lock") throw error;
      },
    });
    const outcomes = await Promise.allSettled([write("a"), write("b")]);
    expect(outcomes).toMatchObject([{ reason: error }, { reason: error }]);
    expect(transactions).toHaveLength(1);
  },
);

/** Creates a writer whose first commits lose their connection. */
function losingCommits(losses: number, options: { hold?: readonly Step[] } = {}) {
  let lost = 0;
  return createFakeBatches({
    ...options,
    onStep(step) {
      if (step !== "commit" || lost === losses) return;
      lost += 1;
      throw commitLost();
    },
  });
}

test("a batch whose COMMIT got no response is repeated", async () => {
  const { write, transactions, writer } = losingCommits(2);
  expect(await Promise.all([write("a"), write("b")])).toEqual(["a", "b"]);
  expect(namesOf(transactions)).toEqual(["ab", "ab", "ab"]);
  expect(writer.stats()).toMatchObject({ repeats: 2, batches: 1 });
});

test("a batch whose COMMIT gets no response three times fails with UNAVAILABLE", async () => {
  const { write, transactions } = losingCommits(3);
  await expect(write("a")).rejects.toMatchObject({
    code: "unavailable",
    details: { reason: "DATABASE_AWAY" },
  });
  expect(transactions).toHaveLength(3);
});

test("a batch that lacks the outcome of an item is not committed, and every call gets an error", async () => {
  const { write, committed } = createFakeBatches({
    decide: (name) => (name === "b" ? undefined : { result: name }),
  });
  const outcomes = await Promise.allSettled([write("a"), write("b")]);
  expect(outcomes).toMatchObject([
    { value: "a" },
    { reason: new Error("an item of the batch has no outcome") },
  ]);
  expect(committed).toEqual(["a"]);
});

test("a batch that fails after a COMMIT without a response fails with OUTCOME_UNKNOWN", async () => {
  let commits = 0;
  const { write, transactions } = createFakeBatches({
    onStep(step) {
      if (step === "commit") {
        commits += 1;
        throw commitLost();
      }
      if (commits > 0) throw new AppError("deadline_exceeded", "Too slow.", { reason: "STATEMENT_TIMEOUT" });
    },
  });
  await expect(write("a")).rejects.toMatchObject({
    code: "deadline_exceeded",
    details: { reason: "OUTCOME_UNKNOWN" },
  });
  expect(transactions).toHaveLength(2);
});
