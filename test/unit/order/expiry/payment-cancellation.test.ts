import { expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import {
  cancelPayments,
  type PaymentCancellation,
  type PaymentOutcome,
} from "../../../../src/order/expiry/payment-cancellation.ts";

/** Limits that no call reaches. */
const UNLIMITED = { callMs: 600_000, batchMs: 600_000 };

const ids = Array.from({ length: 100 }, (_, index) => `order-${index}`);

async function cancel(
  cancelPayment: PaymentCancellation,
  limits = UNLIMITED,
  call = internalCall(),
): Promise<{ outcomes: Map<string, PaymentOutcome>; failures: Map<string, string> }> {
  const failures = new Map<string, string>();
  const outcomes = await cancelPayments(cancelPayment, call, ids, limits, (error, id) => {
    failures.set(id, error instanceof Error ? error.name : "");
  });
  return { outcomes, failures };
}

test("each order gets its own outcome, and an error affects its order only", async () => {
  const { outcomes, failures } = await cancel(async (_call, id) => {
    if (id === "order-7") throw new Error("down");
    return id === "order-8" ? "paid" : "cancelled";
  });
  expect(outcomes.size).toBe(99);
  expect(outcomes.get("order-8")).toBe("paid");
  expect(outcomes.get("order-9")).toBe("cancelled");
  expect([...failures]).toEqual([["order-7", "Error"]]);
});

test("at most 20 calls are made concurrently", async () => {
  let running = 0;
  let most = 0;
  await cancel(async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise(setImmediate);
    running -= 1;
    return "cancelled";
  });
  expect(most).toBe(20);
});

test("a call that does not return ends at its limit, and has a deadline and a signal before", async () => {
  const aborted: string[] = [];
  const { outcomes, failures } = await cancel(
    (call, id) => {
      expect(call.deadlineAtMs).toBeLessThan(Number.POSITIVE_INFINITY);
      call.signal.addEventListener("abort", () => aborted.push(id));
      return id === "order-0" ? new Promise(() => {}) : Promise.resolve("cancelled");
    },
    { callMs: 20, batchMs: 600_000 },
  );
  expect([...failures]).toEqual([["order-0", "TimeoutError"]]);
  expect(outcomes.size).toBe(99);
  expect(aborted).toContain("order-0");
});

test("calls end at the limit of the batch, and those that have not begun are not made", async () => {
  let calls = 0;
  const { outcomes, failures } = await cancel(
    () => {
      calls += 1;
      return new Promise(() => {});
    },
    { callMs: 600_000, batchMs: 20 },
  );
  expect(outcomes.size).toBe(0);
  expect(failures.size).toBe(100);
  expect(calls).toBe(20);
});

test("calls end when the worker does", async () => {
  const ending = new AbortController();
  const result = cancel(() => new Promise(() => {}), UNLIMITED, internalCall(ending.signal));
  ending.abort();
  expect((await result).failures.size).toBe(100);
});
