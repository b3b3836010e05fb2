import { expect, test } from "vitest";
import { isSuiteInstalled, resultColumns, resultRows, runSuite } from "../conformance/run-suite.ts";
import { writeLongResults } from "../support/long/long-results.ts";

test.skipIf(!isSuiteInstalled)(
  "all cases of connectconformance pass (skipped where the PATH has none)",
  async () => {
    const results = await runSuite([]);
    writeLongResults("connectconformance", resultColumns, resultRows(results));
    expect(results.failed, results.report).toEqual([]);
    expect(results.caseCount).toBeGreaterThan(3_500);
  },
);
