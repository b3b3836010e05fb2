import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { outcomeUnknown } from "../../../../src/kernel/errors.ts";
import { CallLifetime } from "../../../../src/rpc/call/call-lifetime.ts";

const abort = vi.fn();
const options = { timeoutMs: 150, settleMs: 200, deliveryMs: 60_000, abort };

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  abort.mockClear();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Records how a promise settles. */
function outcomeOf(work: Promise<unknown>): { value?: unknown; error?: unknown } {
  const outcome: { value?: unknown; error?: unknown } = {};
  work.then(
    (value) => Object.assign(outcome, { value }),
    (error: unknown) => Object.assign(outcome, { error }),
  );
  return outcome;
}

const never = new Promise<never>(() => {});

describe("the deadline", () => {
  test("the deadline aborts the signal of a running handler when it passes, and not before", () => {
    const lifetime = new CallLifetime(options);
    lifetime.begin();
    vi.advanceTimersByTime(149);
    expect(lifetime.signal.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    expect(lifetime.signal.reason).toMatchObject({
      code: "deadline_exceeded",
      details: { reason: "DEADLINE_EXCEEDED", metadata: { timeout_ms: "150" } },
    });
  });

  test("the deadline keeps a handler from starting once it has passed", () => {
    const lifetime = new CallLifetime({ ...options, timeoutMs: 0 });
    expect(() => lifetime.begin()).toThrow(expect.objectContaining({ code: "deadline_exceeded" }));
  });

  test("the deadline ends the wait for the request with an error that Connect can send", async () => {
    const lifetime = new CallLifetime(options);
    const outcome = outcomeOf(lifetime.awaitRequest(never));
    expect(lifetime.isAwaitingRequest).toBe(true);
    await vi.advanceTimersByTimeAsync(150);
    expect(outcome.error).toMatchObject({ code: Code.DeadlineExceeded });
  });

  test("a wait for the request that begins after the deadline is rejected", async () => {
    const lifetime = new CallLifetime(options);
    await vi.advanceTimersByTimeAsync(150);
    await expect(lifetime.awaitRequest(never)).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  });

  test("a deadline of Infinity never passes", () => {
    const lifetime = new CallLifetime({ ...options, timeoutMs: Number.POSITIVE_INFINITY });
    lifetime.begin();
    vi.advanceTimersByTime(2 ** 31);
    expect(lifetime.signal.aborted).toBe(false);
  });

  test("the deadline does not abort the signal of a call that has finished", () => {
    const lifetime = new CallLifetime(options);
    lifetime.begin();
    lifetime.finish();
    lifetime.close();
    vi.advanceTimersByTime(3_600_000);
    expect(lifetime.signal.aborted).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("a handler that is stopped", () => {
  test("a handler that is stopped may still return a result within the time to settle: it may have committed", async () => {
    const lifetime = new CallLifetime(options);
    lifetime.begin();
    const { promise, resolve } = Promise.withResolvers<string>();
    const outcome = outcomeOf(lifetime.settle(promise));
    await vi.advanceTimersByTimeAsync(150 + 199);
    resolve("committed");
    await vi.advanceTimersByTimeAsync(0);
    expect(outcome).toEqual({ value: "committed" });
  });

  test("a handler that is stopped is abandoned when the time to settle has passed", async () => {
    const lifetime = new CallLifetime(options);
    lifetime.begin();
    const outcome = outcomeOf(lifetime.settle(never));
    await vi.advanceTimersByTimeAsync(150 + 199);
    expect(outcome).toEqual({});
    await vi.advanceTimersByTimeAsync(1);
    expect(outcome.error).toMatchObject({ code: "deadline_exceeded" });
    await expect(lifetime.settle(never)).rejects.toMatchObject({ code: "deadline_exceeded" });
  });

  test("a handler that is stopped fails with the reason of the stop, whatever it throws", async () => {
    const lifetime = new CallLifetime(options);
    lifetime.begin();
    await vi.advanceTimersByTimeAsync(150);
    const work = Promise.reject(new Error("canceling statement due to user request"));
    await expect(lifetime.settle(work)).rejects.toMatchObject({ code: "deadline_exceeded" });
  });

  test("a handler that is stopped may say that its outcome is unknown; its other errors are those of the stop", async () => {
    for (const [error, reason] of [
      [outcomeUnknown(), "OUTCOME_UNKNOWN"],
      [new Error("the connection is closed"), "DEADLINE_EXCEEDED"],
    ] as const) {
      const lifetime = new CallLifetime(options);
      lifetime.begin();
      const work = new Promise((_, reject) => {
        lifetime.signal.addEventListener("abort", () => reject(error));
      });
      const outcome = outcomeOf(lifetime.settle(work));
      await vi.advanceTimersByTimeAsync(150);
      expect(outcome.error).toMatchObject({ code: "deadline_exceeded", details: { reason } });
    }
  });

  test.each([true, false])(
    "a deadline leaves the outcome unknown once a COMMIT was sent: %s",
    async (isSent) => {
      const reason = isSent ? "OUTCOME_UNKNOWN" : "DEADLINE_EXCEEDED";
      for (const work of [() => never, () => Promise.reject(new Error("aborted"))]) {
        const lifetime = new CallLifetime(options);
        lifetime.begin();
        if (isSent) lifetime.markCommitting();
        await vi.advanceTimersByTimeAsync(150);
        const outcome = outcomeOf(lifetime.settle(work()));
        await vi.advanceTimersByTimeAsync(200);
        expect(outcome.error).toMatchObject({ code: "deadline_exceeded", details: { reason } });
      }
    },
  );

  test("a handler whose caller leaves keeps its time to settle", async () => {
    const lifetime = new CallLifetime(options);
    lifetime.begin();
    const outcome = outcomeOf(lifetime.settle(never));
    lifetime.close();
    expect(lifetime.signal.reason).toMatchObject({ code: "cancelled" });
    await vi.advanceTimersByTimeAsync(199);
    expect(outcome).toEqual({});
    await vi.advanceTimersByTimeAsync(1);
    expect(outcome.error).toMatchObject({ code: "cancelled" });
  });

  test("a handler that is stopped by the deadline keeps that reason when its caller leaves afterwards", async () => {
    const lifetime = new CallLifetime(options);
    lifetime.begin();
    const outcome = outcomeOf(lifetime.settle(never));
    await vi.advanceTimersByTimeAsync(150);
    lifetime.close();
    await vi.advanceTimersByTimeAsync(200);
    expect(outcome.error).toMatchObject({ code: "deadline_exceeded" });
  });
});

describe("the delivery of a response", () => {
  test("the delivery of a response aborts the exchange when the caller does not receive it in time", () => {
    const lifetime = new CallLifetime(options);
    lifetime.begin();
    lifetime.finish();
    vi.advanceTimersByTime(59_999);
    expect(abort).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(abort).toHaveBeenCalledOnce();
  });

  test("the delivery of the error of a request that did not arrive is bounded", async () => {
    const lifetime = new CallLifetime(options);
    outcomeOf(lifetime.awaitRequest(never));
    await vi.advanceTimersByTimeAsync(150 + 60_000);
    expect(abort).toHaveBeenCalledOnce();
  });

  test("the delivery of a response is not bounded for a caller who has gone", () => {
    const lifetime = new CallLifetime(options);
    lifetime.begin();
    lifetime.close();
    lifetime.finish();
    vi.advanceTimersByTime(60_000);
    expect(abort).not.toHaveBeenCalled();
  });
});
