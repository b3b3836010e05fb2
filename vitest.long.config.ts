import { defineConfig } from "vitest/config";

/** The tests that take longer than a change may wait for: `npm run test:long`. Each writes its table to test/long/RESULTS.md. */
export default defineConfig({
  test: {
    include: ["test/long/**/*.test.ts"],
    globalSetup: "test/support/stores/global-setup.ts",
    testTimeout: 3_600_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
    maxWorkers: 1,
    fileParallelism: false,
  },
});
