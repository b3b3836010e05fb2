import { PassThrough, Readable } from "node:stream";
import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ActiveCall } from "../../../../src/rpc/call/active-call.ts";
import { readBody, streamBody } from "../../../../src/rpc/call/body-reader.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Opens a call whose body may be idle for 100 ms. */
function openCall(timeoutMs = 10_000): ActiveCall {
  return new ActiveCall({
    protocol: "grpc",
    clientAddress: "127.0.0.1",
    peer: undefined,
    userAgent: "",
    authorization: undefined,
    orderToken: "",
    policy: undefined,
    timeoutMs,
    bodyIdleMs: 100,
    deliveryMs: 60_000,
    settleMs: 1_000,
    abort: () => {},
  });
}

const unbounded = () => Number.POSITIVE_INFINITY;

/** Returns the error of work that must fail. */
async function errorOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => expect.fail("it succeeded"),
    (error: unknown) => error,
  );
}

const stalled = {
  code: Code.DeadlineExceeded,
  rawMessage: "The request body did not arrive in time. Send it again.",
};

describe("a body that is read as a whole", () => {
  test("readBody returns a body once it has ended", async () => {
    const body = readBody(openCall(), Readable.from([Buffer.from("a"), Buffer.from("b")]), unbounded);
    expect((await body).toString()).toBe("ab");
  });

  test("readBody returns an empty body that has ended already", async () => {
    const source = new PassThrough();
    source.end();
    source.resume();
    await new Promise((resolve) => source.once("end", resolve));
    expect(await readBody(openCall(), source, unbounded)).toHaveLength(0);
  });

  test("readBody returns a body that exceeds its limit immediately, and reads no further", async () => {
    const source = new PassThrough();
    const body = readBody(openCall(), source, () => 3);
    source.write("four");
    expect((await body).toString()).toBe("four");
    expect(source.listenerCount("data")).toBe(0);
  });

  test("a body that stalls stops the call of readBody", async () => {
    const source = new PassThrough();
    const failure = errorOf(readBody(openCall(), source, unbounded));
    source.write("a");
    await vi.advanceTimersByTimeAsync(100);
    expect(await failure).toMatchObject(stalled);
  });

  test("readBody reads a body that trickles until the deadline, which no chunk extends", async () => {
    const source = new PassThrough();
    const failure = errorOf(readBody(openCall(500), source, unbounded));
    for (let elapsedMs = 0; elapsedMs < 500; elapsedMs += 50) {
      source.write("a");
      await vi.advanceTimersByTimeAsync(50);
    }
    expect(await failure).toMatchObject({
      code: Code.DeadlineExceeded,
      rawMessage: expect.stringContaining("deadline of 500 ms"),
    });
  });
});

describe("a body that is streamed", () => {
  test("a streamed body that stalls stops the call", async () => {
    const source = new PassThrough();
    const chunks = streamBody(openCall(), source);
    source.write("a");
    expect((await chunks.next()).value?.toString()).toBe("a");
    const failure = errorOf(chunks.next());
    await vi.advanceTimersByTimeAsync(100);
    expect(await failure).toMatchObject(stalled);
  });

  test("a streamed body does not stall while its consumer is busy", async () => {
    const call = openCall();
    const chunks = streamBody(call, Readable.from([Buffer.from("a"), Buffer.from("b")]));
    expect((await chunks.next()).value?.toString()).toBe("a");
    await vi.advanceTimersByTimeAsync(250);
    expect((await chunks.next()).value?.toString()).toBe("b");
    expect((await chunks.next()).done).toBe(true);
    expect(call.signal.aborted).toBe(false);
  });

  test("a streamed body ends with the cancellation when the caller leaves", async () => {
    const call = openCall();
    const failure = errorOf(streamBody(call, new PassThrough()).next());
    call.lifetime.close();
    expect(await failure).toMatchObject({ code: Code.Canceled });
  });
});
