import { expect, onTestFinished, test, vi } from "vitest";
import { backoffMs } from "../../../../src/kernel/async/backoff.ts";

test.each([
  ["smallest", 0, [50, 100, 200, 400, 400]],
  ["mean", 0.5, [100, 200, 400, 800, 800]],
])("the %s delay doubles with each failure up to the maximum", (_, random, delays) => {
  const randomOf = vi.spyOn(Math, "random").mockReturnValue(random);
  onTestFinished(() => randomOf.mockRestore());
  const backoff = { firstMs: 100, maxMs: 800 };
  expect([1, 2, 3, 4, 2_000].map((failures) => backoffMs(failures, backoff))).toEqual(delays);
});
