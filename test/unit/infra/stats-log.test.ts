import { expect, test } from "vitest";
import { createStatsLog } from "../../../src/infra/stats-log.ts";

test("counters are logged once a minute, and only if something was counted", () => {
  const logged: Record<string, unknown>[] = [];
  let nowMs = 0;
  const info = (fields: Record<string, unknown>) => void logged.push(fields);
  const record = createStatsLog({ info }, "Counted", () => nowMs);
  const count = (atMs: number, counted: number) => {
    nowMs = atMs;
    record(counted, () => ({ counted }));
  };
  count(0, 1);
  count(59_999, 2);
  expect(logged).toEqual([]);
  count(60_000, 2);
  count(60_001, 3);
  count(119_999, 4);
  expect(logged).toEqual([{ counted: 2 }]);
  count(120_000, 4);
  count(600_000, 4);
  expect(logged).toEqual([{ counted: 2 }, { counted: 4 }]);
});
