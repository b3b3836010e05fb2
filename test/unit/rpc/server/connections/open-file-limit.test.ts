import { expect, test } from "vitest";
import { availableConnections } from "../../../../../src/rpc/server/connections/open-file-limit.ts";
import { DEFAULT_SERVER_LIMITS } from "../../../../../src/rpc/server/server-limits.ts";
import { type LogLine, recordingLog } from "../../../../support/rpc/rpc-server.ts";

const limitsFile = (soft: string) =>
  `Limit                     Soft Limit           Hard Limit           Units\nMax processes             10                   10                   processes\nMax open files            ${soft}                 ${soft}                 files\n`;

test.each([
  ["20000", 10_000, 0],
  ["unlimited", 10_000, 0],
  ["4096", 3_490, 1],
  ["1024", 418, 1],
  ["256", 1, 1],
])("%s open files allow %i connections", (soft, expected, warnings) => {
  const lines: LogLine[] = [];
  expect(availableConnections(DEFAULT_SERVER_LIMITS, recordingLog(lines), () => limitsFile(soft))).toBe(
    expected,
  );
  expect(lines.map(({ level }) => level)).toEqual(Array.from({ length: warnings }, () => "warn"));
});

test("an unknown limit of open files allows all connections", () => {
  const readLimits = () => {
    throw new Error("ENOENT");
  };
  expect(availableConnections(DEFAULT_SERVER_LIMITS, recordingLog([]), readLimits)).toBe(10_000);
});
