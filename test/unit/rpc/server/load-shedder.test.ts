import { beforeEach, describe, expect, test, vi } from "vitest";
import {
  createLoadShedder,
  type LoadShedder,
  type Slot,
} from "../../../../src/rpc/server/load-shedding/load-shedder.ts";
import { type LogLine, recordingLog } from "../../../support/rpc/rpc-server.ts";

let nowMs = 0;
let lines: LogLine[] = [];
beforeEach(() => {
  nowMs = 10_000;
  lines = [];
});

/** Creates a load shedder with two slots, on the clock of the test. */
function createTwoSlots(): LoadShedder {
  return createSlots(2);
}

function createSlots(maxCalls: number): LoadShedder {
  return createLoadShedder({
    name: "Calls",
    maxCalls,
    maxReceivedBytes: 100,
    maxUnsentBytes: 250,
    slotBodyMs: 1_000,
    log: recordingLog(lines),
    nowMs: () => nowMs,
  });
}

const request = (complete = true) => ({ complete });

/** Acquires a slot that must be free. */
function acquire(shedder: LoadShedder, caller = "a", complete = true): Slot {
  const slot = shedder.acquire(request(complete), caller);
  if (slot === undefined) throw new Error("there is no slot");
  return slot;
}

/** Acquires slots for calls whose bodies do not arrive. */
function stall(shedder: LoadShedder, caller: string, count = 1): Slot[] {
  return Array.from({ length: count }, () => {
    const slot = acquire(shedder, caller, false);
    slot.startReceiving(caller, () => {});
    return slot;
  });
}

const isServed = (shedder: LoadShedder, caller = "a") => shedder.acquire(request(), caller) !== undefined;

/** Returns how many of a number of calls get a slot. */
const countServed = (shedder: LoadShedder, caller: string, count: number) =>
  Array.from({ length: count }, () => isServed(shedder, caller)).filter(Boolean).length;

test("a call beyond the limit is rejected until another is released", () => {
  const shedder = createTwoSlots();
  const first = acquire(shedder);
  acquire(shedder);
  expect(isServed(shedder)).toBe(false);
  first.release();
  expect(isServed(shedder)).toBe(true);
  expect(isServed(shedder)).toBe(false);
});

test("rejected calls are logged once a second, with their number", () => {
  const shedder = createTwoSlots();
  acquire(shedder);
  acquire(shedder);
  for (let count = 0; count < 20; count += 1) isServed(shedder);
  nowMs += 1_000;
  isServed(shedder);
  expect(lines).toEqual([
    { level: "warn", message: "Calls rejected at the concurrency limit", fields: { calls: 2, rejected: 1 } },
    { level: "warn", message: "Calls rejected at the concurrency limit", fields: { calls: 2, rejected: 20 } },
  ]);
});

describe("a request that does not arrive", () => {
  test("a request that does not arrive keeps its slot for a second, and then frees it for others", () => {
    const shedder = createTwoSlots();
    stall(shedder, "a", 2);
    nowMs += 999;
    expect(isServed(shedder)).toBe(false);
    nowMs += 100;
    expect(isServed(shedder)).toBe(true);
    expect(isServed(shedder)).toBe(true);
    expect(isServed(shedder)).toBe(false);
  });

  test("a request that lost its slot needs a free one when it arrives", () => {
    const shedder = createTwoSlots();
    const stalled = stall(shedder, "a", 2);
    nowMs += 1_000;
    const [first, second] = [acquire(shedder), acquire(shedder)];
    expect(stalled.map((slot) => slot.finishReceiving())).toEqual([false, false]);
    first.release();
    expect(stalled.map((slot) => slot.finishReceiving())).toEqual([true, false]);
    second.release();
    expect(isServed(shedder)).toBe(true);
  });

  test("a request that does not arrive keeps its slot when no other call needs one", () => {
    const shedder = createTwoSlots();
    const [slow] = stall(shedder, "a");
    nowMs += 60_000;
    expect(slow?.finishReceiving()).toBe(true);
    expect(isServed(shedder)).toBe(true);
    expect(isServed(shedder)).toBe(false);
  });
});

describe("incomplete requests of several callers", () => {
  test("a caller takes the slot of the caller with the most of them, immediately", () => {
    const shedder = createSlots(4);
    stall(shedder, "attacker", 3);
    const [other] = stall(shedder, "other");
    expect(isServed(shedder, "victim")).toBe(true);
    expect(other?.finishReceiving(), "the other caller kept its slot").toBe(true);
  });

  test("a caller with the most of them takes slots from its own only, once they have stalled", () => {
    const shedder = createSlots(4);
    const [other] = stall(shedder, "other");
    nowMs += 10_000;
    const [oldest] = stall(shedder, "attacker", 3);
    expect(isServed(shedder, "attacker")).toBe(false);
    nowMs += 1_000;
    stall(shedder, "attacker", 3);
    other?.finishReceiving();
    acquire(shedder, "victim");
    expect(lines).toHaveLength(1);
    expect(oldest?.finishReceiving(), "it needs another slot now").toBe(false);
  });

  test("callers with one of them each do not keep another caller out", () => {
    const shedder = createSlots(4);
    const slots = ["b", "c", "d", "e"].flatMap((caller) => stall(shedder, caller));
    expect(countServed(shedder, "a", 1)).toBe(1);
    // A slow caller whose request arrives needs a slot, and gets that of another incomplete request.
    expect(slots.map((slot) => slot.finishReceiving())).toEqual([true, true, true, false]);
  });

  test("requests count for the authenticated caller", () => {
    const shedder = createSlots(4);
    for (let count = 0; count < 4; count += 1) {
      acquire(shedder, "network", false).startReceiving("account", () => {});
    }
    expect(isServed(shedder, "network")).toBe(true);
    expect(isServed(shedder, "account")).toBe(false);
  });

  test("of 280 requests that stall, none keeps the calls of another caller out", () => {
    const shedder = createSlots(256);
    for (let count = 0; count < 280; count += 1) {
      const slot = shedder.acquire(request(false), "attacker");
      slot?.startReceiving("attacker", () => {});
    }
    for (let count = 0; count < 329; count += 1) {
      const slot = acquire(shedder, "victim");
      slot.startReceiving("victim", () => {});
      expect(slot.finishReceiving()).toBe(true);
      slot.release();
    }
  });
});

describe("running calls of several callers", () => {
  test("one caller cannot have the last eighth of the slots", () => {
    const shedder = createSlots(256);
    expect(countServed(shedder, "attacker", 300)).toBe(224);
    expect(countServed(shedder, "b", 300)).toBe(32);
  });

  test("callers with less than a fair share get slots that others leave", () => {
    const shedder = createSlots(16);
    expect(countServed(shedder, "a", 20)).toBe(14);
    // With two callers a fair share is a third of the slots.
    expect(countServed(shedder, "b", 1)).toBe(1);
    expect(countServed(shedder, "c", 1)).toBe(1);
    expect(countServed(shedder, "d", 1)).toBe(0);
  });

  test("many callers together leave slots for one more", () => {
    const shedder = createSlots(256);
    for (let round = 0; round < 20; round += 1) {
      for (let caller = 0; caller < 30; caller += 1) isServed(shedder, `attacker ${caller}`);
    }
    expect(countServed(shedder, "victim", 8)).toBe(8);
  });

  test("requests that arrive together get no more slots than a fair share", () => {
    const shedder = createSlots(256);
    const slots = stall(shedder, "attacker", 256);
    expect(slots.filter((slot) => slot.finishReceiving())).toHaveLength(224);
    expect(countServed(shedder, "victim", 32)).toBe(32);
  });

  test("streams that respond for long get no more slots than a fair share", () => {
    const shedder = createSlots(256);
    for (let count = 0; count < 256; count += 1) {
      acquire(shedder, "attacker", true).startReceiving("attacker", () => {});
    }
    expect(countServed(shedder, "victim", 32)).toBe(32);
  });

  test("a small number of slots has no reserve", () => {
    expect(countServed(createSlots(7), "a", 10)).toBe(7);
  });
});

describe("bytes of incomplete requests", () => {
  test("the caller with the most of them loses its largest request", () => {
    const shedder = createSlots(10);
    const stops = Array.from({ length: 4 }, () => vi.fn());
    const callers = ["attacker", "attacker", "attacker", "victim"];
    const slots = callers.map((caller, index) => {
      const slot = acquire(shedder, caller, false);
      slot.startReceiving(caller, stops[index] ?? (() => {}));
      return slot;
    });
    for (const [index, bytes] of [20, 25, 20, 30].entries()) slots[index]?.addReceived(bytes);
    expect(stops.map((stop) => stop.mock.calls.length)).toEqual([0, 0, 0, 0]);
    slots[3]?.addReceived(10);
    expect(stops.map((stop) => stop.mock.calls.length)).toEqual([0, 1, 0, 0]);
    slots[3]?.addReceived(20);
    expect(
      stops.map((stop) => stop.mock.calls.length),
      "100 are allowed",
    ).toEqual([0, 1, 0, 0]);
  });

  test("they are not counted any more when the request has arrived", () => {
    const shedder = createTwoSlots();
    const stop = vi.fn();
    for (let count = 0; count < 10; count += 1) {
      const slot = acquire(shedder);
      slot.startReceiving("a", stop);
      slot.addReceived(60);
      if (count % 2 === 0) slot.finishReceiving();
      slot.release();
    }
    expect(stop).not.toHaveBeenCalled();
  });
});

test("a call that waits in admission keeps its slot, without a time limit", () => {
  const shedder = createTwoSlots();
  acquire(shedder, "a", false);
  acquire(shedder, "a", false);
  nowMs += 60_000;
  expect(isServed(shedder)).toBe(false);
});

test("a complete request that is not read yet keeps its slot", () => {
  const shedder = createTwoSlots();
  for (let count = 0; count < 2; count += 1) acquire(shedder).startReceiving("a", () => {});
  nowMs += 60_000;
  expect(isServed(shedder)).toBe(false);
});

test("a response that is not received holds no slot", () => {
  const shedder = createTwoSlots();
  for (let count = 0; count < 10; count += 1) acquire(shedder).startSending(1, () => {});
  expect(isServed(shedder)).toBe(true);
});

test("the oldest unsent responses are aborted when they exceed their bytes", () => {
  const shedder = createTwoSlots();
  const aborts = Array.from({ length: 4 }, () => vi.fn());
  for (const abort of aborts) acquire(shedder).startSending(100, abort);
  expect(aborts.map((abort) => abort.mock.calls.length)).toEqual([1, 1, 0, 0]);
});

test("a single response above the limit is sent", () => {
  const shedder = createTwoSlots();
  const abort = vi.fn();
  acquire(shedder).startSending(1_000, abort);
  expect(abort).not.toHaveBeenCalled();
});
