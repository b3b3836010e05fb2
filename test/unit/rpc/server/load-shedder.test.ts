import { beforeEach, describe, expect, test, vi } from "vitest";
import { createLoadShedder } from "../../../../src/rpc/server/load-shedding/load-shedder.ts";
import { type LogLine, recordingLog } from "../../../support/rpc/rpc-server.ts";

let nowMs = 0;
let lines: LogLine[] = [];
beforeEach(() => {
  nowMs = 10_000;
  lines = [];
});

/** Creates a load shedder with two slots, on the clock of the test. */
function createTwoSlots() {
  return createLoadShedder({
    maxCalls: 2,
    maxUnsentBytes: 250,
    slotBodyMs: 1_000,
    log: recordingLog(lines),
    nowMs: () => nowMs,
  });
}

const request = (complete = true) => ({ complete });

test("a call beyond the limit is rejected until another is released", () => {
  const shedder = createTwoSlots();
  const [first, second, third] = [request(), request(), request()];
  expect([first, second, third].map(shedder.acquire)).toEqual([true, true, false]);
  shedder.release(first);
  expect(shedder.acquire(third)).toBe(true);
  expect(shedder.acquire(first)).toBe(false);
});

test("rejected calls are logged once a second, with their number", () => {
  const shedder = createTwoSlots();
  shedder.acquire(request());
  shedder.acquire(request());
  for (let count = 0; count < 20; count += 1) shedder.acquire(request());
  nowMs += 1_000;
  shedder.acquire(request());
  expect(lines).toEqual([
    { level: "warn", message: "Calls rejected at the concurrency limit", fields: { calls: 2, rejected: 1 } },
    { level: "warn", message: "Calls rejected at the concurrency limit", fields: { calls: 2, rejected: 20 } },
  ]);
});

describe("a request that does not arrive", () => {
  test("a request that does not arrive keeps its slot for a second, and then frees it for others", () => {
    const shedder = createTwoSlots();
    for (const stalled of [request(false), request(false)]) {
      shedder.acquire(stalled);
      shedder.startReceiving(stalled);
    }
    nowMs += 999;
    expect(shedder.acquire(request())).toBe(false);
    nowMs += 100;
    expect(shedder.acquire(request())).toBe(true);
    expect(shedder.acquire(request())).toBe(true);
    expect(shedder.acquire(request())).toBe(false);
  });

  test("a request that lost its slot needs a free one when it arrives", () => {
    const shedder = createTwoSlots();
    const stalled = [request(false), request(false)];
    for (const one of stalled) {
      shedder.acquire(one);
      shedder.startReceiving(one);
    }
    nowMs += 1_000;
    const other = request();
    expect(shedder.acquire(other)).toBe(true);
    expect(stalled.map(shedder.finishReceiving)).toEqual([true, false]);
    shedder.release(other);
    expect(shedder.acquire(request())).toBe(true);
  });

  test("a request that does not arrive keeps its slot when no other call needs one", () => {
    const shedder = createTwoSlots();
    const slow = request(false);
    shedder.acquire(slow);
    shedder.startReceiving(slow);
    nowMs += 60_000;
    expect(shedder.finishReceiving(slow)).toBe(true);
    expect(shedder.acquire(request())).toBe(true);
    expect(shedder.acquire(request())).toBe(false);
  });
});

test("a call that waits in admission keeps its slot, without a time limit", () => {
  const shedder = createTwoSlots();
  shedder.acquire(request(false));
  shedder.acquire(request(false));
  nowMs += 60_000;
  expect(shedder.acquire(request())).toBe(false);
});

test("a complete request that is not read yet keeps its slot", () => {
  const shedder = createTwoSlots();
  for (const complete of [request(), request()]) {
    shedder.acquire(complete);
    shedder.startReceiving(complete);
  }
  nowMs += 60_000;
  expect(shedder.acquire(request())).toBe(false);
});

test("a response that is not received holds no slot", () => {
  const shedder = createTwoSlots();
  for (let count = 0; count < 10; count += 1) {
    const unread = request();
    expect(shedder.acquire(unread)).toBe(true);
    shedder.startSending(unread, 1, () => {});
  }
  expect(shedder.acquire(request())).toBe(true);
});

test("the oldest unsent responses are aborted when they exceed their bytes", () => {
  const shedder = createTwoSlots();
  const aborts = Array.from({ length: 4 }, () => vi.fn());
  for (const abort of aborts) {
    const unread = request();
    shedder.acquire(unread);
    shedder.startSending(unread, 100, abort);
  }
  expect(aborts.map((abort) => abort.mock.calls.length)).toEqual([1, 1, 0, 0]);
});

test("a single response above the limit is sent", () => {
  const shedder = createTwoSlots();
  const large = request();
  const abort = vi.fn();
  shedder.acquire(large);
  shedder.startSending(large, 1_000, abort);
  expect(abort).not.toHaveBeenCalled();
});
