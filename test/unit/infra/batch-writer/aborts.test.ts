import { expect, test } from "vitest";
import { type Call, internalCall } from "../../../../src/kernel/call.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { createFakeBatches } from "../../../support/batch-writer/fake-batches.ts";
import { settleTurns } from "../../../support/batch-writer/turns.ts";

const deadlinePassed = new AppError("deadline_exceeded", "Too late.", { reason: "DEADLINE_EXCEEDED" });
const callerGone = new AppError("cancelled", "Gone.", { reason: "CANCELLED" });

/** Returns a call that the test can stop. */
function stoppableCall(): { call: Call; stop: (reason: AppError) => void } {
  const controller = new AbortController();
  return { call: internalCall(controller.signal), stop: (reason) => controller.abort(reason) };
}

test.each([
  ["deadline passes", deadlinePassed],
  ["caller disconnects", callerGone],
])("a waiting call whose %s is removed, and nothing of it is written", async (_name, reason) => {
  const { write, transactions, writer } = createFakeBatches({ hold: ["commit"] });
  const { call, stop } = stoppableCall();
  const first = write("a");
  await settleTurns();
  const aborted = write("b", ["b"], call);
  const other = write("c");
  stop(reason);
  await expect(aborted).rejects.toBe(reason);
  expect(writer.stats()).toMatchObject({ waiting: 1, aborted: 1 });
  transactions[0]?.release("commit");
  await settleTurns();
  expect(transactions[1]?.locked).toEqual(["c"]);
  transactions[1]?.release("commit");
  expect(await Promise.all([first, other])).toEqual(["a", "c"]);
});

test("a call that is aborted while its batch waits for locks is not written: the others are, on the same connection", async () => {
  const { write, transactions, committed, writer } = createFakeBatches({ hold: ["lock"] });
  const { call, stop } = stoppableCall();
  const aborted = write("a", ["a"], call);
  const other = write("b");
  await settleTurns();
  expect(transactions[0]?.locked).toEqual(["a", "b"]);
  stop(deadlinePassed);
  await expect(aborted).rejects.toBe(deadlinePassed);
  expect(transactions[0]?.signal.aborted).toBe(false);
  transactions[0]?.release("lock");
  expect(await other).toBe("b");
  expect(committed).toEqual(["b"]);
  expect(writer.stats()).toMatchObject({ aborted: 1, items: 1 });
});

test("a batch whose calls are all aborted is ended, and its keys are free", async () => {
  const { write, transactions } = createFakeBatches({ hold: ["lock"] });
  const [one, two] = [stoppableCall(), stoppableCall()];
  const aborted = Promise.allSettled([write("a", ["1"], one.call), write("b", ["1"], two.call)]);
  await settleTurns();
  one.stop(callerGone);
  expect(transactions[0]?.signal.aborted).toBe(false);
  two.stop(deadlinePassed);
  expect(transactions[0]?.signal.aborted).toBe(true);
  transactions[0]?.release("lock");
  expect(await aborted).toMatchObject([{ reason: callerGone }, { reason: deadlinePassed }]);
  const next = write("c", ["1"]);
  await settleTurns();
  transactions[1]?.release("lock");
  expect(await next).toBe("c");
});

test("a deadline that passes after the writes were sent responds OUTCOME_UNKNOWN immediately, and the item is written", async () => {
  const { write, transactions, committed } = createFakeBatches({ hold: ["commit"] });
  const { call, stop } = stoppableCall();
  const response = write("a", ["a"], call);
  await settleTurns();
  stop(deadlinePassed);
  await expect(response).rejects.toMatchObject({
    code: "deadline_exceeded",
    details: { reason: "OUTCOME_UNKNOWN" },
  });
  expect(transactions[0]?.signal.aborted).toBe(false);
  transactions[0]?.release("commit");
  await settleTurns();
  expect(committed).toEqual(["a"]);
});

test("a disconnect after the writes were sent changes nothing", async () => {
  const { write, transactions } = createFakeBatches({ hold: ["write"] });
  const { call, stop } = stoppableCall();
  const response = write("a", ["a"], call);
  await settleTurns();
  stop(callerGone);
  expect(transactions[0]?.signal.aborted).toBe(false);
  transactions[0]?.release("write");
  expect(await response).toBe("a");
});

test("while a batch whose COMMIT got no response is repeated, a deadline responds OUTCOME_UNKNOWN", async () => {
  let lost = false;
  const { write, transactions } = createFakeBatches({
    hold: ["lock"],
    onStep(step) {
      if (step !== "commit" || lost) return;
      lost = true;
      const cause = Object.assign(new Error("reset"), { code: "ECONNRESET" });
      throw new AppError("unavailable", "Away.", { reason: "DATABASE_AWAY" }, cause);
    },
  });
  const { call, stop } = stoppableCall();
  const response = write("a", ["a"], call);
  const other = write("b");
  await settleTurns();
  transactions[0]?.release("lock");
  await expect.poll(() => transactions.length).toBe(2);
  stop(deadlinePassed);
  await expect(response).rejects.toMatchObject({ details: { reason: "OUTCOME_UNKNOWN" } });
  transactions[1]?.release("lock");
  expect(await other).toBe("b");
});

test("a call that was aborted before it arrived is not queued", async () => {
  const { write, transactions } = createFakeBatches();
  const { call, stop } = stoppableCall();
  stop(callerGone);
  await expect(write("a", ["a"], call)).rejects.toBe(callerGone);
  await settleTurns();
  expect(transactions).toEqual([]);
});
