import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { AppError } from "../../../../src/kernel/errors.ts";
import { createThrottledLog } from "../../../../src/rpc/errors/throttled-log.ts";
import { type LogLine, recordingLog } from "../../../support/rpc/rpc-server.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

test("each reason is logged at most once a second, with the number of suppressed lines", () => {
  const lines: LogLine[] = [];
  const logFailure = createThrottledLog(recordingLog(lines));
  const fail = (reason: string, times: number, cause?: Error) => {
    for (let count = 0; count < times; count += 1) {
      logFailure("a.B/C", new AppError("unavailable", "Away.", { reason }, cause));
    }
  };
  const takeFields = () => lines.splice(0).map(({ fields }) => fields);
  fail("DATABASE_AWAY", 30, new Error("refused"));
  fail("DATABASE_BUSY", 5);
  expect(takeFields()).toEqual([
    { method: "a.B/C", reason: "DATABASE_AWAY", cause: "refused" },
    { method: "a.B/C", reason: "DATABASE_BUSY", cause: undefined },
  ]);
  vi.advanceTimersByTime(999);
  expect(takeFields()).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(takeFields()).toEqual([
    { method: "a.B/C", reason: "DATABASE_AWAY", cause: "refused", suppressed: 29 },
    { method: "a.B/C", reason: "DATABASE_BUSY", cause: undefined, suppressed: 4 },
  ]);
  // The line with the number begins another second.
  fail("DATABASE_AWAY", 3);
  expect(takeFields()).toEqual([]);
  vi.advanceTimersByTime(1_000);
  expect(takeFields()).toMatchObject([{ reason: "DATABASE_AWAY", suppressed: 3 }]);
  vi.advanceTimersByTime(60_000);
  expect(takeFields()).toEqual([]);
});

test("a long cause is cut", () => {
  const lines: LogLine[] = [];
  const cause = new Error("x".repeat(10_000));
  createThrottledLog(recordingLog(lines))(
    "a.B/C",
    new AppError("unavailable", "No.", { reason: "X" }, cause),
  );
  expect(lines[0]?.fields.cause).toHaveLength(500);
});
